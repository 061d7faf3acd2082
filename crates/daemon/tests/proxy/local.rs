//! An API on this machine that says, byte for byte, what the test wants it to.

use crate::support::House;
use perennial::core::Origin;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

pub(crate) struct Api {
    pub(crate) listener: TcpListener,
}

impl Api {
    /// Its connection is named `local`, and has the grant of `acme`.
    pub(crate) async fn open(house: &House) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Origin::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let mut connection = house.keeper.connection("acme").unwrap();
        connection.name = "local".to_owned();
        connection.id = "id-local".to_owned();
        connection.permitted.push(base.clone());
        connection.held.as_mut().unwrap().base = base;
        let app = house.keeper.store().app("acme").unwrap();
        house.keeper.add(&connection, &app, &[], "added").unwrap();
        Self { listener }
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// What arrives for `request`, up to the end of its head or body (`until`), and what the caller gets for `answer`.
    pub(crate) async fn serve(
        &self,
        house: &House,
        request: &str,
        until: &str,
        answer: &str,
    ) -> (String, String) {
        let mut caller = say(house, request).await;
        let mut line = self.accept().await;
        let heard = hears(&mut line, until).await;
        line.write_all(answer.as_bytes()).await.unwrap();
        line.shutdown().await.unwrap();
        let mut got = Vec::new();
        let _ = caller.read_to_end(&mut got).await;
        (heard, String::from_utf8(got).unwrap())
    }
}

/// Says this to the daemon.
pub(crate) async fn say(house: &House, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until this has come, and returns all of it.
pub(crate) async fn hears(stream: &mut (impl AsyncRead + Unpin), what: &str) -> String {
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while !heard.contains(what) {
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "it ended without {what:?}: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    heard
}

/// A request to the local API; `rest` is what stands behind its first lines.
pub(crate) fn call(method: &str, rest: &str) -> String {
    format!("{method} /v1/connections/local/proxy/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{rest}\r\n")
}
