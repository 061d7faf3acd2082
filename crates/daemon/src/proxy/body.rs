//! Bodies on their way. Whoever sends one is waited for at each piece, so long and no longer. What a caller sends is kept
//! as it goes by, as far as that is little: then it can be sent once more.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// A body on its way, which breaks off where the next piece does not come in time.
pub(super) struct Passing<B> {
    body: B,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    copy: Option<Copied>,
}

/// What has gone by of a body.
#[derive(Clone)]
pub(super) struct Copied(Arc<Mutex<State>>);

enum State {
    /// So much, and so much more there is room for.
    Growing(BytesMut, usize),
    /// All of it.
    Whole(Bytes),
    /// It is larger than what may be kept, or it broke off.
    Gone,
    /// Its next piece did not come.
    Silent,
}

/// The next piece did not come.
#[derive(Debug, thiserror::Error)]
#[error("nothing more came in time")]
struct Silence;

/// A body that is waited for.
pub(super) fn awaited<B>(body: B, patience: Duration) -> Body
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    Body::new(Passing { body, patience, silence: None, copy: None })
}

/// The same, and up to `room` bytes of it are kept.
pub(super) fn copied(body: Body, patience: Duration, room: usize) -> (Body, Copied) {
    let fits = body.size_hint().lower() <= room as u64;
    let state = if fits { State::Growing(BytesMut::new(), room) } else { State::Gone };
    let copy = Copied(Arc::new(Mutex::new(state)));
    (Body::new(Passing { body, patience, silence: None, copy: Some(copy.clone()) }), copy)
}

impl Copied {
    /// The body, where all of it has gone by and was kept.
    pub(super) fn whole(&self) -> Option<Bytes> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Whole(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// True when whoever sends it has stopped to.
    pub(super) fn is_silent(&self) -> bool {
        matches!(&*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Silent)
    }

    fn note<E>(&self, next: Option<&Result<Frame<Bytes>, E>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Growing(kept, room) = &mut *state else { return };
        match next {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(piece) if piece.len() <= *room => {
                    *room -= piece.len();
                    kept.extend_from_slice(piece);
                }
                Some(_) => *state = State::Gone,
                // Trailers: nothing comes behind them, and nobody asks whether it does.
                None => *state = State::Whole(std::mem::take(kept).freeze()),
            },
            Some(Err(_)) => *state = State::Gone,
            None => *state = State::Whole(std::mem::take(kept).freeze()),
        }
    }

    fn fell_silent(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Silent;
    }
}

impl<B> HttpBody for Passing<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(cx) {
            this.silence = None;
            if let Some(copy) = &this.copy {
                copy.note(next.as_ref());
            }
            return Poll::Ready(next.map(|next| next.map_err(axum::Error::new)));
        }
        // A body that comes with its head needs no timer.
        let patience = this.patience;
        let silence = this.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(silence.as_mut().poll(cx));
        if let Some(copy) = &this.copy {
            copy.fell_silent();
        }
        Poll::Ready(Some(Err(axum::Error::new(Silence))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::convert::Infallible;

    /// Pieces of which nobody says beforehand how long they are, and whether an end follows them.
    struct Pieces(&'static [&'static str], bool);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.split_first() {
                Some((first, rest)) => {
                    self.0 = rest;
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(first.as_bytes())))))
                }
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn what_is_little_is_kept_once_all_of_it_has_gone_by() {
        let (mut body, copy) = copied(Body::new(Pieces(&["ab", "cd"], true)), Duration::from_secs(1), 4);
        body.frame().await.unwrap().unwrap();
        assert_eq!(copy.whole(), None, "not before its end");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "cd");
        assert_eq!(copy.whole().unwrap(), "abcd");
        let (body, copy) = copied(Body::new(Pieces(&["ab", "cd"], true)), Duration::from_secs(1), 3);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd", "it goes by whole all the same");
        assert_eq!(copy.whole(), None);
    }

    #[tokio::test]
    async fn a_body_whose_next_piece_does_not_come_breaks_off() {
        let (mut body, copy) = copied(Body::new(Pieces(&["ab"], false)), Duration::from_millis(1), 4);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(body.frame().await.unwrap().is_err());
        assert!(copy.is_silent());
    }
}
