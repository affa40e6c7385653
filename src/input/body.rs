//! Gathering a body, judging it, and handing it on as it came.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::Violation;
use super::check::Rules;
use super::rule::Rule;
use crate::domain::Endpoint;
use crate::message::{BodyFault, BodyStream, Head, Part, RequestBody};

/// Why a body is not sent on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// It breaks the operation's rule.
    #[error("{}", .0.message)]
    Violation(Violation),
    /// It did not arrive, or is too long.
    #[error(transparent)]
    Body(#[from] BodyFault),
}

impl Rules {
    /// Holds a request's body to its operation's rule, waiting for all of it; without a rule the body is as it
    /// was.
    pub async fn hold<'c>(
        &self,
        endpoint: Option<&Endpoint>,
        head: &Head,
        body: RequestBody<'c>,
    ) -> Result<RequestBody<'c>, InputFault> {
        match self.of(endpoint) {
            None => Ok(body),
            Some(rule) => rule.hold(head, body).await,
        }
    }
}

impl Rule {
    async fn hold<'c>(&self, head: &Head, body: RequestBody<'c>) -> Result<RequestBody<'c>, InputFault> {
        if body.announced_length() > self.max_body_bytes {
            return Err(BodyFault::TooLarge { limit_bytes: self.max_body_bytes }.into());
        }
        if is_coded(head) {
            let message = "The body is compressed. Send it as plain JSON, without Content-Encoding.";
            let violation = Violation { field: String::new(), message: message.to_owned() };
            return Err(InputFault::Violation(violation));
        }
        let judged = |body: &[u8]| self.judge(body).map_err(InputFault::Violation);
        match body {
            RequestBody::Empty => judged(b"").map(|()| RequestBody::Empty),
            RequestBody::Full(bytes) => judged(bytes).map(|()| RequestBody::Full(bytes)),
            RequestBody::Stream { mut stream, length } => {
                let gathered = self.gather(&mut *stream).await?;
                judged(&gathered.data)?;
                Ok(RequestBody::Stream { stream: Box::new(gathered), length })
            }
        }
    }

    async fn gather(&self, stream: &mut dyn BodyStream) -> Result<Gathered, BodyFault> {
        let mut data = BytesMut::new();
        loop {
            match poll_fn(|cx| stream.poll_part(cx)).await {
                None => return Ok(Gathered { data: data.freeze(), trailers: None }),
                Some(Ok(Part::Trailers(lines))) => {
                    return Ok(Gathered { data: data.freeze(), trailers: Some(lines) });
                }
                Some(Ok(Part::Data(part))) => {
                    if (data.len() + part.len()) as u64 > self.max_body_bytes {
                        return Err(BodyFault::TooLarge { limit_bytes: self.max_body_bytes });
                    }
                    data.extend_from_slice(&part);
                }
                Some(Err(fault)) => return Err(fault),
            }
        }
    }
}

/// All of a body that our own resources take; trailers are not looked at.
pub async fn gathered(body: RequestBody<'_>, most_bytes: u64) -> Result<Vec<u8>, BodyFault> {
    let too_large = BodyFault::TooLarge { limit_bytes: most_bytes };
    if body.announced_length() > most_bytes {
        return Err(too_large);
    }
    let mut stream = match body {
        RequestBody::Empty => return Ok(Vec::new()),
        RequestBody::Full(bytes) => return Ok(bytes.to_vec()),
        RequestBody::Stream { stream, .. } => stream,
    };
    let mut data = Vec::new();
    while let Some(part) = poll_fn(|cx| stream.poll_part(cx)).await {
        if let Part::Data(part) = part? {
            if (data.len() + part.len()) as u64 > most_bytes {
                return Err(too_large);
            }
            data.extend_from_slice(&part);
        }
    }
    Ok(data)
}

/// Whether the body's bytes are not the JSON itself.
fn is_coded(head: &Head) -> bool {
    head.fields().any(|field| {
        field.name.eq_ignore_ascii_case(b"content-encoding") && !field.value.eq_ignore_ascii_case(b"identity")
    })
}

/// A body that has arrived, as the stream that it came as.
struct Gathered {
    data: Bytes,
    trailers: Option<Vec<u8>>,
}

impl BodyStream for Gathered {
    fn poll_part(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Part, BodyFault>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Part::Data(std::mem::take(&mut self.data)))));
        }
        Poll::Ready(self.trailers.take().map(|lines| Ok(Part::Trailers(lines))))
    }
}
