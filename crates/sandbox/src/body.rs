//! Bodies that do more than hold bytes: a script of chunks, waits and cuts, and one that keeps a request in flight.

use crate::server::Line;
use crate::stats::InFlight;
use axum::body::Body;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

pub(crate) enum Step {
    Send(Bytes),
    Wait(Duration),
    /// Lets the connection write out what it holds before the next step.
    Flush,
    /// Closes the connection without another byte.
    Close(Line),
}

/// A body that follows its steps.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// A body that keeps its request in flight until it has been handed over, or the client has gone.
pub(crate) struct Held {
    body: Body,
    _in_flight: InFlight,
}

impl Script {
    pub(crate) fn body(steps: impl IntoIterator<Item = Step>) -> Body {
        Body::new(Script { steps: steps.into_iter().collect(), waiting: None })
    }
}

impl Held {
    pub(crate) fn body(body: Body, in_flight: InFlight) -> Body {
        Body::new(Held { body, _in_flight: in_flight })
    }
}

impl HttpBody for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Wait(time)) => self.waiting = Some(Box::pin(sleep(time))),
                Some(Step::Flush) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Close(line)) => {
                    line.close();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
