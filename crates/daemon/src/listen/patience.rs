//! How long a socket may stay silent, at the price of one timer for each socket. hyper asks for a new timer before each
//! request's head and throws it away behind it; with tokio's own that is a place in the timer wheel, taken and given back
//! under a lock, for each request. Here all of a socket's timers share one place: it stands at a moment that is early
//! enough for each of them, and is moved only when that moment comes.

use hyper::rt::{Sleep, Timer};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The timer of one socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

/// Until `deadline`.
struct Until {
    deadline: Instant,
    patience: Patience,
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline, patience: self.clone() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(self.deadline);
        let mut place = self.patience.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = place.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if shared.deadline() > deadline {
            shared.as_mut().reset(deadline);
        }
        loop {
            ready!(shared.as_mut().poll(cx));
            if shared.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It stood where an earlier request had put it.
            shared.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_over(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
        let waker = Waker::from(Arc::new(Woken::default()));
        sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[tokio::test]
    async fn a_silence_that_is_broken_begins_anew() {
        let (patience, now) = (Patience::default(), Instant::now());
        let mut first = patience.sleep_until(now + Duration::from_secs(100));
        assert!(!is_over(&mut first));
        drop(first);
        let mut second = patience.sleep_until(now + Duration::from_secs(200));
        assert!(!is_over(&mut second));
        let place = Arc::clone(&patience.0);
        let stands = || place.lock().unwrap().as_ref().unwrap().deadline().into_std();
        assert_eq!(stands(), now + Duration::from_secs(100), "nothing was moved for the second request");
        // The moment of the first has come: the place is moved on to the second's.
        place.lock().unwrap().as_mut().unwrap().as_mut().reset(tokio::time::Instant::now());
        while stands() != now + Duration::from_secs(200) {
            assert!(!is_over(&mut second));
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_silence_ends_where_its_own_deadline_is() {
        let patience = Patience::default();
        let mut long = patience.sleep(Duration::from_secs(100));
        assert!(!is_over(&mut long));
        let mut over = patience.sleep_until(Instant::now());
        over.as_mut().await;
    }
}
