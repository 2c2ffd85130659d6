//! Why a publisher does not start.

use std::{fmt, io};

use kvtrie::ChangeFeedError;

/// The reason why [`PublisherBuilder::start`](crate::PublisherBuilder::start) failed.
///
/// Nothing is left behind: no thread, no socket, and the change feed of the cache is free again.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The cache gives no change feed.
    Feed(ChangeFeedError),
    /// The poll interval or the heartbeat is zero.
    ZeroInterval,
    /// Another socket uses this endpoint.
    EndpointInUse(String),
    /// This endpoint cannot be bound.
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What ZeroMQ says.
        source: io::Error,
    },
    /// The system refuses a socket or a thread.
    System(io::Error),
}

impl StartError {
    /// Makes the error of a bind that failed.
    pub(crate) fn bind(endpoint: &str, error: zmq::Error) -> Self {
        let endpoint = endpoint.to_owned();
        match error {
            zmq::Error::EADDRINUSE => Self::EndpointInUse(endpoint),
            error => Self::Endpoint {
                endpoint,
                source: error.into(),
            },
        }
    }
}

impl From<zmq::Error> for StartError {
    fn from(error: zmq::Error) -> Self {
        Self::System(error.into())
    }
}

impl From<ChangeFeedError> for StartError {
    fn from(error: ChangeFeedError) -> Self {
        Self::Feed(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(error) => error.fmt(f),
            Self::ZeroInterval => f.write_str("the poll interval and the heartbeat exceed zero"),
            Self::EndpointInUse(endpoint) => {
                write!(
                    f,
                    "{endpoint} is in use by another socket; choose another port"
                )
            }
            Self::Endpoint { endpoint, source } => write!(
                f,
                "cannot bind {endpoint} ({source}); endpoints look like tcp://0.0.0.0:5557"
            ),
            Self::System(error) => write!(f, "the system refused a socket or a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Endpoint { source, .. } | Self::System(source) => Some(source),
            // The error of the feed is this error's own text.
            Self::Feed(_) | Self::ZeroInterval | Self::EndpointInUse(_) => None,
        }
    }
}
