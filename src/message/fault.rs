//! Why bytes are no message that the gateway accepts.

/// What is wrong with a head. `&'static str` parts are fit to be shown to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// Syntax or framing is broken; 400.
    #[error("{0}")]
    Malformed(&'static str),
    /// The request target is longer than allowed; 414.
    #[error("the request target is longer than {limit_bytes} bytes")]
    TargetTooLong {
        /// The most that is accepted.
        limit_bytes: usize,
    },
    /// The head is longer than allowed; 431.
    #[error("the head is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The most bytes that are accepted.
        limit_bytes: usize,
    },
    /// The head has more fields than allowed; 431.
    #[error("the head has more than {limit_fields} fields")]
    TooManyFields {
        /// The most fields that are accepted.
        limit_fields: usize,
    },
    /// A transfer coding other than `chunked`; 501.
    #[error("the transfer coding is not `chunked`")]
    UnknownTransferCoding,
    /// A method that the gateway does not know; 501.
    #[error("the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")]
    UnknownMethod,
    /// `Expect` asks for something else than `100-continue`; 417.
    #[error("the only expectation that is met is `100-continue`")]
    UnknownExpectation,
    /// The announced body is longer than allowed; 413.
    #[error("the body is longer than {limit_bytes} bytes")]
    BodyTooLarge {
        /// The most that is accepted.
        limit_bytes: u64,
    },
    /// No request was read, because every connection is taken; 503.
    #[error("every connection of the gateway is in use")]
    TooManyConnections,
    /// The head was not complete in time; 408.
    #[error("the request was not complete within {limit_seconds} seconds")]
    Timeout {
        /// The time that it had.
        limit_seconds: u64,
    },
}

/// Why a body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Chunk syntax or length is broken.
    #[error("{0}")]
    Malformed(&'static str),
    /// Longer than allowed.
    #[error("the body is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The most that is accepted.
        limit_bytes: u64,
    },
    /// No byte came for too long.
    #[error("no byte of the body came for {limit_seconds} seconds")]
    Timeout {
        /// The time that it had.
        limit_seconds: u64,
    },
    /// The sender left in the middle.
    #[error("the sender closed the connection in the middle of the body")]
    Gone,
    /// An answer broke off on its way to us. Of answers alone, so that it is told from a fault of the request
    /// whose upload goes on beside it.
    #[error("the answer broke off")]
    AnswerBroken,
    /// An answer was not complete in time; of answers alone.
    #[error("the answer was not complete in time")]
    AnswerLate,
}
