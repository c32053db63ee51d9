//! Bodies of requests have to come in time: nobody keeps a place of the admin interface by sending none.

use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// So long the body of a request may take in all. The longest are 64 KiB.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A body that fails when it takes too long.
pub(super) struct TimedBody<B> {
    body: B,
    limit: Pin<Box<Sleep>>,
}

/// Why the rest of a body is not waited for.
#[derive(Debug)]
pub(super) enum BodyError<E> {
    /// The connection broke.
    Broken(E),
    /// It took too long.
    Slow,
}

impl<E: fmt::Display> fmt::Display for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Slow => write!(f, "it did not come within {} s", BODY_TIMEOUT.as_secs()),
        }
    }
}

impl<E: std::error::Error> std::error::Error for BodyError<E> {}

impl<B> TimedBody<B> {
    pub fn new(body: B) -> Self {
        Self {
            body,
            limit: Box::pin(sleep(BODY_TIMEOUT)),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TimedBody<B> {
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<B::Error>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = frame {
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        ready!(self.limit.as_mut().poll(context));
        Poll::Ready(Some(Err(BodyError::Slow)))
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
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    /// Gives what is sent to it.
    struct Given(mpsc::Receiver<Bytes>);

    impl Body for Given {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            let block = self.0.poll_recv(context);
            block.map(|block| block.map(|block| Ok(Frame::data(block))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let (send, receive) = mpsc::channel(2);
        send.send(Bytes::from_static(b"a=1")).await.unwrap();
        let mut body = TimedBody::new(Given(receive));
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "a=1");
        let failed = body.frame().await.unwrap().unwrap_err();
        assert_eq!(failed.to_string(), "it did not come within 20 s");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_in_time_is_whole() {
        let (send, receive) = mpsc::channel(2);
        send.send(Bytes::from_static(b"a=1")).await.unwrap();
        drop(send);
        let whole = TimedBody::new(Given(receive)).collect().await.unwrap();
        assert_eq!(whole.to_bytes(), "a=1");
    }
}
