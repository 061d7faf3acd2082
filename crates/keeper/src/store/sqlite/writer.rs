//! The one thread that writes to a database, with *group commit*: it takes everything that waits into one transaction,
//! a savepoint each, so that a write that is refused undoes no other; commits once, with one fsync; then answers all
//! (law 1).
//!
//! What it commits finds room (law 4): with every write it has the file system keep room behind the -wal file for the
//! commits of all intents that are open then.

use super::backup::Copies;
use super::batch::Batch;
use super::database::Meta;
use super::failure::At;
use super::home::Home;
use super::keys::Ring;
use super::lock::{LockFile, STORE};
use super::place::{BesideIt, Place};
use super::schema::{self, Use};
use crate::store::{StoreError, WriteError};
use crate::unix;
use rusqlite::{Savepoint, TransactionBehavior};
use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Room for the pages that a commit changes beside its record: some twenty of 4 KiB, and as many again.
const ROOM: i64 = 160 * 1024;
/// How many intents are open, and how large their records are.
pub(super) const OPEN_INTENTS: &str =
    "SELECT count(*), coalesce(sum(length(record)), 0) FROM connections WHERE intent IS NOT NULL";

/// How many writes go into one transaction at most.
const MOST: usize = 128;

type Outcome = Result<(), WriteError>;
type Work = dyn FnMut(&mut Batch<'_>) -> Outcome + Send;

/// What is to be written. It may be run twice: what it did the first time was undone then.
pub(super) struct Job {
    work: Box<Work>,
    /// True for the outcome of a presentation, for which room was kept.
    has_room: bool,
}

impl Job {
    /// A write for which nobody has kept room.
    pub(super) fn new(work: impl FnMut(&mut Batch<'_>) -> Outcome + Send + 'static) -> Self {
        Self { work: Box::new(work), has_room: false }
    }

    /// The outcome of a presentation.
    pub(super) fn with_room(self) -> Self {
        Self { has_room: true, ..self }
    }
}

type Answer = SyncSender<Outcome>;

/// The thread, as others see it. Dropping it waits until all that was handed over is durable.
pub(super) struct Writer {
    jobs: Option<Sender<(Job, Answer)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(place: Place, tenant: String, ring: Arc<Ring>) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let writing = Writing { place, tenant, ring, opened: None, copies: Copies::default() };
        let thread =
            Builder::new().name("perennial-store".to_owned()).spawn(move || writing.run(&waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) fn hand_over(&self, job: Job, answer: Answer) -> Result<(), ()> {
        self.jobs.as_ref().ok_or(())?.send((job, answer)).map_err(|_| ())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writing {
    place: Place,
    tenant: String,
    ring: Arc<Ring>,
    opened: Option<Opened>,
    copies: Copies,
}

/// The connection to write with, and the files that SQLite goes by.
struct Opened {
    sql: rusqlite::Connection,
    beside: BesideIt,
    /// Where the database is in use from here on, where nobody has said so yet.
    home: Option<String>,
}

impl Opened {
    fn open(place: &Place) -> Result<Self, StoreError> {
        let sql = schema::connect(place, Use::Writing)?;
        let meta = Meta::read(&sql).map_err(|error| place.at("write").failed(error))?;
        let home = Home::here(&place.path, &meta.store).map(|home| home.write());
        Ok(Self { sql, beside: place.beside_it(), home })
    }
}

/// What came of a transaction.
#[derive(Default)]
struct Done {
    outcomes: Vec<Outcome>,
    /// Connections that were written.
    touched: Vec<i64>,
    /// True when something is there now that a person would miss in an older backup.
    worth_a_copy: bool,
    /// True when room was not kept for all of it.
    wants_room: bool,
}

impl Done {
    fn is_nothing(&self) -> bool {
        self.outcomes.iter().all(Result::is_err)
    }
}

impl Writing {
    fn run(mut self, waiting: &Receiver<(Job, Answer)>) {
        loop {
            let rest = self.copies.at().map(|at| at.saturating_duration_since(Instant::now()));
            let first = match rest {
                None => waiting.recv().ok(),
                Some(Duration::ZERO) => {
                    self.copy();
                    continue;
                }
                Some(rest) => match waiting.recv_timeout(rest) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    first => first.ok(),
                },
            };
            let Some(first) = first else { break };
            let mut jobs = vec![first];
            jobs.extend(waiting.try_iter().take(MOST - 1));
            if let Some(worth_a_copy) = self.write(jobs) {
                self.copies.after_a_write(&self.place, worth_a_copy);
            }
        }
        if self.copies.at().is_some() {
            self.copy();
        }
    }

    fn copy(&mut self) {
        if let Some(opened) = &self.opened {
            self.copies.make(&self.place, &self.ring, &opened.sql);
        }
    }

    /// Writes all, and answers all. Says whether anything was written, and if so, whether it is worth a
    /// backup.
    fn write(&mut self, mut jobs: Vec<(Job, Answer)>) -> Option<bool> {
        match self.attempt(&mut jobs) {
            Ok(done) => {
                let written = (!done.is_nothing()).then_some(done.worth_a_copy);
                for ((_, answer), outcome) in jobs.into_iter().zip(done.outcomes) {
                    let _ = answer.send(outcome);
                }
                written
            }
            Err(error) => match <[_; 1]>::try_from(jobs) {
                Ok([(_, answer)]) => {
                    let _ = answer.send(Err(error.into()));
                    None
                }
                // One of them may be too much for the disk: each for itself then.
                Err(jobs) => {
                    let written = jobs.into_iter().filter_map(|job| self.write(vec![job]));
                    written.reduce(|one, other| one || other)
                }
            },
        }
    }

    /// One transaction. Where it fails, all of it is undone.
    fn attempt(&mut self, jobs: &mut [(Job, Answer)]) -> Result<Done, StoreError> {
        let (place, at) = (&self.place, At { place: &self.place, action: "write" });
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => Opened::open(place)?,
        };
        let opened = self.opened.insert(opened);
        is_in_its_place(place, opened)?;
        let mut transaction = opened
            .sql
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| at.failed(error))?;
        let count = "UPDATE meta SET changes = changes + 1, home = coalesce(home, ?1) RETURNING changes";
        let change = transaction
            .query_row(count, [&opened.home], |row| row.get(0))
            .map_err(|error| at.failed(error))?;
        let keys = self.ring.keys(&transaction)?;
        let mut done = Done::default();
        for (job, _) in jobs {
            let savepoint = transaction.savepoint().map_err(|error| at.failed(error))?;
            let mut batch = Batch::new(&savepoint, place, &self.tenant, &keys, change);
            let outcome = (job.work)(&mut batch);
            let Batch { touched, worth_a_copy, .. } = batch;
            let outcome = end(savepoint, outcome, at)?;
            if outcome.is_ok() {
                done.touched.extend(touched);
                done.worth_a_copy |= worth_a_copy;
                done.wants_room |= !job.has_room;
            }
            done.outcomes.push(outcome);
        }
        if done.is_nothing() {
            transaction.rollback().map_err(|error| at.failed(error))?;
            return Ok(done);
        }
        keep_room(place, &transaction, done.wants_room)?;
        transaction.commit().map_err(|error| at.failed(error))?;
        mark(place, &done.touched, change);
        Ok(done)
    }
}

/// Keeps what a job did, or undoes it.
fn end(savepoint: Savepoint<'_>, outcome: Outcome, at: At<'_>) -> Result<Outcome, StoreError> {
    if savepoint.is_autocommit() {
        // SQLite itself has undone the whole transaction, as it does when the disk is full.
        return Err(match outcome {
            Err(WriteError::Store(error)) => error,
            _ => StoreError::io("write", &at.place.path)(io::Error::other("the transaction ended early")),
        });
    }
    let ended = if outcome.is_ok() { savepoint.commit() } else { savepoint.finish() };
    ended.map_err(|error| at.failed(error))?;
    Ok(outcome)
}

/// Somebody may have put another file in the database's place, or taken away what SQLite keeps beside it: what is
/// written then is seen by nobody else.
fn is_in_its_place(place: &Place, opened: &Opened) -> Result<(), StoreError> {
    let mut has_moved = 0;
    let asked = opened.sql.file_control(Some("main"), rusqlite::FileControl::HasMoved(&mut has_moved));
    asked.map_err(|error| place.at("write").failed(error))?;
    if has_moved != 0 {
        return Err(place.damaged("it was moved away, or replaced, while it was in use"));
    }
    if place.beside_it() != opened.beside {
        return Err(place.damaged(
            "its -wal or -shm file was taken away while it was in use; end all programs that use it, and it may be \
             whole again",
        ));
    }
    Ok(())
}

/// Law 4: has the file system keep room for the commits of all open intents, and for this transaction itself. A commit
/// that has its room goes on without.
fn keep_room(place: &Place, sql: &rusqlite::Connection, wants_room: bool) -> Result<(), StoreError> {
    let at = place.at("write");
    let (open, records): (i64, i64) = sql
        .query_row(OPEN_INTENTS, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| at.failed(error))?;
    let room = open.saturating_add(1).saturating_mul(ROOM).saturating_add(records.saturating_mul(3));
    let wal = OpenOptions::new().read(true).write(true).open(place.wal());
    let kept = wal.and_then(|wal| unix::keep_room_behind(&wal, room.unsigned_abs()));
    match kept {
        Err(error) if wants_room => Err(StoreError::io("write", &place.path)(error)),
        _ => Ok(()),
    }
}

/// Whoever opens the database from now on expects this much. It is durable already: nobody fails for a missing mark.
fn mark(place: &Place, touched: &[i64], change: i64) {
    let marked = LockFile::open(place.lock())
        .and_then(|lock| lock.raise(touched.iter().copied().chain([STORE]), change));
    if let Err(error) = marked {
        tracing::warn!(path = %place.lock().display(), %error, "the mark of the last change could not be written");
    }
}
