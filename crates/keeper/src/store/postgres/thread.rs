//! The thread on which everything of the database happens. A store's methods are synchronous, and are called from
//! anywhere, also from within a runtime that has but one thread: they hand work over, and wait on a channel.

use super::server::Server;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

type Work = Box<dyn FnOnce(Rc<Server>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The thread, as others see it. Dropping it ends it, and closes its connections.
pub(super) struct Thread {
    work: Option<UnboundedSender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    pub(super) fn start(make: impl FnOnce() -> Server + Send + 'static) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (work, waiting) = unbounded_channel();
        let body = move || LocalSet::new().block_on(&runtime, serve(Rc::new(make()), waiting));
        let thread = Builder::new().name("perennial-postgres".to_owned()).spawn(body)?;
        Ok(Self { work: Some(work), thread: Some(thread) })
    }

    /// Has it done there, and waits. `None` when the thread has ended, which only a panic brings about.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Server) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let work: Work = Box::new(move |server| {
            Box::pin(async move {
                let _ = answer.send(work(&server).await);
            })
        });
        self.work.as_ref()?.send(work).ok()?;
        answered.recv().ok()
    }
}

async fn serve(server: Rc<Server>, mut waiting: UnboundedReceiver<Work>) {
    while let Some(work) = waiting.recv().await {
        tokio::task::spawn_local(work(Rc::clone(&server)));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
