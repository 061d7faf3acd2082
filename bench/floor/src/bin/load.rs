//! `load ADDRESS NAMES REQUESTS SOCKETS PID`: asks for tokens over kept-alive sockets, one request at a time on each, and
//! tells how many were answered in a second and what each has cost the server, as one line of JSON.
//!
//! ADDRESS is `HOST:PORT` or the path of a unix socket; NAMES is a file with a connection's name on each line, asked for in
//! turn; PID is the server's. A client key is read from the variable LOAD_KEY. Whatever the number of requests, it ends
//! after five seconds. Any answer but 200 ends it at once.
//!
//! All requests are written before the clock starts, and of an answer only the head is read: on a processor of its own it
//! has time to spare (`load_busy`), so that what is measured is the server.

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::LocalSet;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MOST: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, names, requests, sockets, pid] = arguments.as_slice() else {
        return Err("usage: load ADDRESS NAMES REQUESTS SOCKETS PID".into());
    };
    let work = Rc::new(Work::new(&fs::read_to_string(names)?, address, requests.parse()?));
    let (before, own_before) = (cpu_time(pid)?, cpu_time("self")?);
    let begun = Instant::now();
    let ending = begun + MOST;
    let local = LocalSet::new();
    let mut asking = Vec::new();
    for _ in 0..sockets.parse::<usize>()? {
        let work = Rc::clone(&work);
        asking.push(if address.contains('/') {
            let stream = UnixStream::connect(address).await?;
            local
                .spawn_local(async move { work.ask(stream, ending).await.map_err(|error| error.to_string()) })
        } else {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            local
                .spawn_local(async move { work.ask(stream, ending).await.map_err(|error| error.to_string()) })
        });
    }
    local
        .run_until(async {
            for asks in asking {
                asks.await??;
            }
            Ok::<(), Box<dyn Error>>(())
        })
        .await?;
    let took = begun.elapsed();
    let (busy, own_busy) = (cpu_time(pid)? - before, cpu_time("self")? - own_before);
    let answered = work.answered.get();
    println!(
        "{}",
        serde_json::json!({
            "requests": answered,
            "per_second": (answered as f64 / took.as_secs_f64()).round(),
            "cpu_microseconds": (busy.as_secs_f64() * 1e9 / answered as f64).round() / 1e3,
            "server_busy": (100.0 * busy.as_secs_f64() / took.as_secs_f64()).round() / 100.0,
            "load_busy": (100.0 * own_busy.as_secs_f64() / took.as_secs_f64()).round() / 100.0,
            "bytes": work.bytes.get() / answered,
        })
    );
    Ok(())
}

/// What is asked, and how much of it has been.
struct Work {
    requests: Vec<Vec<u8>>,
    left: Cell<u64>,
    answered: Cell<u64>,
    bytes: Cell<u64>,
}

impl Work {
    fn new(names: &str, address: &str, left: u64) -> Self {
        let host = if address.contains('/') { "localhost" } else { address };
        let key = env::var("LOAD_KEY").ok().filter(|key| !key.is_empty());
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let request = |name: &str| {
            format!("GET /v1/connections/{name}/token HTTP/1.1\r\nhost: {host}\r\n{key}accept: */*\r\n\r\n")
                .into_bytes()
        };
        let requests = names.lines().map(request).collect();
        Self { requests, left: Cell::new(left), answered: Cell::new(0), bytes: Cell::new(0) }
    }

    /// One socket's requests, each after the answer to the one before.
    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, ending: Instant) -> Result<()> {
        let mut room = vec![0; 16 * 1024];
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let next = usize::try_from(left)? % self.requests.len();
            stream.write_all(&self.requests[next]).await?;
            let mut filled = 0;
            let mut whole = None;
            while whole.is_none_or(|whole| filled < whole) {
                let read = stream.read(&mut room[filled..]).await?;
                if read == 0 {
                    return Err("the server hung up".into());
                }
                filled += read;
                if whole.is_none() {
                    whole = length(&room[..filled])?;
                }
            }
            self.answered.set(self.answered.get() + 1);
            self.bytes.set(self.bytes.get() + filled as u64);
            if left % 256 == 0 && Instant::now() > ending {
                self.left.set(0);
            }
        }
        Ok(())
    }
}

/// The length of an answer with its head; `None` while the head is not whole.
fn length(answer: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(answer)? else { return Ok(None) };
    if head.code != Some(200) {
        return Err(format!("answered {}", String::from_utf8_lossy(answer)).into());
    }
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.ok_or("an answer without a length")?;
    Ok(Some(start + str::from_utf8(length.value)?.parse::<usize>()?))
}

/// What a process has had of the processors: Linux tells it for each thread, in nanoseconds.
fn cpu_time(pid: &str) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().ok_or("no schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
