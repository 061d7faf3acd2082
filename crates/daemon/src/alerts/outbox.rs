//! What has not been delivered yet, durably: one file for each message and sink, in one directory. A message is in its
//! file before anybody sends it, and leaves it only when the sink has taken it: it arrives at least once.
//!
//! Where the disk takes no file the message waits in memory alone: a full disk is what somebody must be told of.

use super::alert::Message;
use super::files;
use super::tally::Tally;
use perennial::core::UnixTime;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

const LOCK: &str = "lock";
/// What says in a message that others were dropped.
const LOST: &str = "alerts.lost";
/// So long messages are put together at most.
const LONGEST_TOGETHER: Duration = Duration::from_secs(3600);

/// The outbox.
#[derive(Debug)]
pub(super) struct Outbox {
    dir: PathBuf,
    inner: Mutex<Inner>,
    /// Something came in.
    pub(super) news: Notify,
    tally: Arc<Tally>,
    /// Two daemons do not share one.
    _lock: File,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: HashMap<String, BTreeMap<u64, Waiting>>,
    /// The sinks that there are, and how many messages may wait for each.
    sinks: Vec<(String, usize)>,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    /// By the time since boot, which nobody sets.
    retry_at: Duration,
    tries: u32,
    on_disk: bool,
    /// It may still grow, and waits for [`Outbox::release`].
    grows: bool,
}

/// What a sink is to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this; it was tried so often before.
    Send(u64, Arc<Message>, u32),
    /// Nothing for so long.
    In(Duration),
    Nothing,
}

impl Inner {
    /// The number of the message with this id, and whether it is a new one.
    fn number(&mut self, sink: &str, id: &str) -> (u64, bool) {
        let waiting = self.waiting.get(sink).into_iter().flatten();
        if let Some((number, _)) = waiting.rev().find(|(_, one)| one.message.id == id) {
            return (*number, false);
        }
        self.next += 1;
        (self.next - 1, true)
    }

    /// Drops what there is no room for; returns it, and the message that waits and tells of earlier losses.
    fn drop_oldest(&mut self, sink: &str, most: usize) -> (Vec<u64>, Option<(u64, Arc<Message>)>) {
        let Some(waiting) = self.waiting.get_mut(sink) else { return (Vec::new(), None) };
        let tells_of_losses = |one: &Waiting| one.message.body["type"] == LOST;
        let mut dropped = Vec::new();
        while waiting.len() > most {
            let passing = waiting.iter().find(|(_, one)| one.message.passing && !tells_of_losses(one));
            let oldest = passing.or_else(|| waiting.iter().find(|(_, one)| !tells_of_losses(one)));
            let Some(number) = oldest.map(|(number, _)| *number) else { break };
            waiting.remove(&number);
            dropped.push(number);
        }
        let told = waiting.iter().find(|(_, one)| tells_of_losses(one));
        (dropped, told.map(|(number, one)| (*number, Arc::clone(&one.message))))
    }
}

impl Waiting {
    fn wait(&self, now: Duration) -> Duration {
        if self.grows {
            return LONGEST_TOGETHER;
        }
        self.retry_at.saturating_sub(now)
    }
}

impl Outbox {
    /// Opens the directory, and takes in what waits there.
    pub(super) fn open(dir: &Path, tally: Arc<Tally>) -> io::Result<Self> {
        files::make_dir(dir)?;
        let lock = files::append(&dir.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "another daemon uses it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let inner = Mutex::new(load(dir)?);
        Ok(Self { dir: dir.to_owned(), inner, news: Notify::new(), tally, _lock: lock })
    }

    /// These are the sinks from here on. What waits for others stays where it is.
    pub(super) fn serve(&self, sinks: Vec<(String, usize)>) {
        let mut inner = self.inner();
        for (sink, waiting) in &inner.waiting {
            if !waiting.is_empty() && !sinks.iter().any(|(known, _)| known == sink) {
                tracing::warn!(
                    messages = waiting.len(),
                    sink,
                    outbox = %self.dir.display(),
                    "messages wait for a sink that is not configured any more; they stay in the outbox"
                );
            }
        }
        inner.sinks = sinks;
        self.count(&inner);
        drop(inner);
        self.news.notify_waiters();
    }

    /// Takes messages in, for every sink. One that is there by its id is replaced. Nobody who asks what to do next waits
    /// for the disk meanwhile. Messages come from one place at a time.
    pub(super) fn put(&self, messages: &[Message], now: UnixTime) {
        if messages.is_empty() {
            return;
        }
        let sinks = self.inner().sinks.clone();
        for (sink, most) in &sinks {
            self.write_down(sink, messages);
            self.make_room(sink, *most, now);
        }
        self.count(&self.inner());
        self.news.notify_waiters();
    }

    /// Nothing is added to these messages any more.
    pub(super) fn release(&self, ids: &[String]) {
        if ids.is_empty() {
            return;
        }
        let mut inner = self.inner();
        let waiting = inner.waiting.values_mut().flat_map(BTreeMap::values_mut);
        waiting.filter(|one| ids.contains(&one.message.id)).for_each(|one| one.grows = false);
        drop(inner);
        self.news.notify_waiters();
    }

    /// What the sink is to do next, by the time since boot; `but` is left alone, and so is what may still grow, unless it
    /// `ends`.
    pub(super) fn next(&self, sink: &str, now: Duration, ends: bool, but: &BTreeSet<u64>) -> Next {
        let inner = self.inner();
        let Some(waiting) = inner.waiting.get(sink) else { return Next::Nothing };
        let mut soonest: Option<Duration> = None;
        for (number, one) in waiting.iter().filter(|(number, _)| !but.contains(number)) {
            let wait = if ends { Duration::ZERO } else { one.wait(now) };
            if wait.is_zero() {
                return Next::Send(*number, Arc::clone(&one.message), one.tries);
            }
            soonest = soonest.into_iter().chain([wait]).min();
        }
        soonest.map_or(Next::Nothing, Next::In)
    }

    /// The sink has taken it. A message that has grown meanwhile stays.
    pub(super) fn done(&self, sink: &str, number: u64, message: &Arc<Message>) {
        let mut inner = self.inner();
        let Some(waiting) = inner.waiting.get_mut(sink) else { return };
        if waiting.get(&number).is_some_and(|one| Arc::ptr_eq(&one.message, message)) {
            waiting.remove(&number);
            self.count(&inner);
            drop(inner);
            // Should its removal be lost in a crash, it arrives twice, under one id.
            let _ = fs::remove_file(self.path(number, sink));
        }
    }

    /// The sink did not take it.
    pub(super) fn later(&self, sink: &str, number: u64, at: Duration) {
        if let Some(one) = self.inner().waiting.get_mut(sink).and_then(|waiting| waiting.get_mut(&number)) {
            one.tries = one.tries.saturating_add(1);
            one.retry_at = at;
        }
    }

    /// Tries once more to write what is in memory alone.
    pub(super) fn write_what_is_owed(&self) {
        let owed: Vec<_> = {
            let inner = self.inner();
            let of = |(sink, waiting): (&String, &BTreeMap<u64, Waiting>)| {
                let owed = waiting.iter().filter(|(_, one)| !one.on_disk);
                owed.map(|(number, one)| (sink.clone(), *number, Arc::clone(&one.message)))
                    .collect::<Vec<_>>()
            };
            inner.waiting.iter().flat_map(of).collect()
        };
        for (sink, number, message) in owed {
            if !write(&self.path(number, &sink), &message) {
                return;
            }
            let mut inner = self.inner();
            match inner.waiting.get_mut(&sink).and_then(|waiting| waiting.get_mut(&number)) {
                Some(one) => one.on_disk = true,
                // It was delivered meanwhile.
                None => drop(fs::remove_file(self.path(number, &sink))),
            }
        }
    }

    /// Messages for one sink: first on the disk, then to be seen.
    fn write_down(&self, sink: &str, messages: &[Message]) {
        let mut written = Vec::with_capacity(messages.len());
        for message in messages {
            let (number, is_new) = self.inner().number(sink, &message.id);
            written.push((number, is_new, message, write(&self.path(number, sink), message)));
        }
        self.sync();
        let mut inner = self.inner();
        let waiting = inner.waiting.entry(sink.to_owned()).or_default();
        for (number, is_new, message, on_disk) in written {
            let grows = message.grows;
            // What it replaces was delivered meanwhile, and its file went with it.
            let on_disk = on_disk && (is_new || waiting.contains_key(&number));
            let message = Arc::new(message.clone());
            waiting.insert(number, Waiting { message, retry_at: Duration::ZERO, tries: 0, on_disk, grows });
        }
    }

    /// The oldest goes where there is no room, what is over before what is not; and that is told. What was told of it
    /// before and has not been delivered is told anew, with all of it, under another id.
    fn make_room(&self, sink: &str, most: usize, now: UnixTime) {
        let (mut dropped, told) = self.inner().drop_oldest(sink, most);
        let count = dropped.len() as u64;
        if count == 0 {
            return;
        }
        self.tally.add_dropped(count);
        tracing::warn!(count, sink, "too many alerts wait for this sink: the oldest were dropped");
        let counted = told.as_ref().and_then(|(_, told)| told.body["data"]["count"].as_u64()).unwrap_or(0);
        let since = told.as_ref().map_or(now, |(_, told)| UnixTime(told.made));
        let lost = Message { made: since.0, ..Message::lost(counted + count, since, now) };
        self.write_down(sink, &[lost]);
        if let Some((number, _)) = told {
            self.inner().waiting.get_mut(sink).and_then(|waiting| waiting.remove(&number));
            dropped.push(number);
        }
        for number in dropped {
            let _ = fs::remove_file(self.path(number, sink));
        }
    }

    fn count(&self, inner: &Inner) {
        let waiting = |(sink, _): &(String, usize)| inner.waiting.get(sink).map_or(0, BTreeMap::len);
        self.tally.set_waiting(inner.sinks.iter().map(waiting).sum::<usize>() as u64);
    }

    fn sync(&self) {
        if let Err(error) = files::sync_dir(&self.dir) {
            tracing::warn!(%error, outbox = %self.dir.display(), "the outbox could not be made durable");
        }
    }

    fn path(&self, number: u64, sink: &str) -> PathBuf {
        self.dir.join(format!("{number:012}.{sink}.json"))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True when it is on the disk.
fn write(path: &Path, message: &Message) -> bool {
    let written =
        serde_json::to_vec(message).map_err(io::Error::from).and_then(|bytes| files::replace(path, &bytes));
    if let Err(error) = &written {
        tracing::warn!(%error, file = %path.display(), "an alert could not be written down; it waits in memory");
    }
    written.is_ok()
}

fn load(dir: &Path) -> io::Result<Inner> {
    let mut inner = Inner { next: 1, ..Inner::default() };
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if files::is_unfinished(&path) {
            let _ = fs::remove_file(&path);
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut parts = name.splitn(3, '.');
        let (Some(number), Some(sink), Some("json")) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else { continue };
        match fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Message>(&bytes)?)) {
            Ok(message) => {
                let one = Waiting {
                    message: Arc::new(message),
                    retry_at: Duration::ZERO,
                    tries: 0,
                    on_disk: true,
                    grows: false,
                };
                inner.waiting.entry(sink.to_owned()).or_default().insert(number, one);
            }
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "a message in the outbox cannot be read and stays there");
            }
        }
        inner.next = inner.next.max(number + 1);
    }
    Ok(inner)
}
