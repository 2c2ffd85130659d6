//! The publisher: its settings and its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use kvtrie::PrefixCache;

use crate::batch::{Batcher, Format};
use crate::counts::{Counts, PublisherStats};
use crate::error::StartError;
use crate::outlet::{Outlet, first_number};
use crate::replay::Replays;
use crate::ring::Ring;
use crate::worker::Worker;

/// Most messages that wait for one peer: batches of about 64 KiB at most.
const QUEUE: i32 = 1_000;
/// Longest request that a router may send, in bytes.
const REQUEST: i64 = 256;
/// How long messages that are on their way may hold up `stop`, in milliseconds.
const LINGER: i32 = 200;

/// The settings of a [`Publisher`], made by [`Publisher::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `start`"]
pub struct PublisherBuilder {
    endpoint: String,
    replay_endpoint: Option<String>,
    topic: String,
    interval: Duration,
    heartbeat: Duration,
    medium: Option<String>,
    dp_rank: Option<u16>,
    model: Option<Vec<u8>>,
    ring: usize,
    ring_bytes: usize,
    repeats: bool,
}

impl PublisherBuilder {
    /// Sets the endpoint at which routers ask for batches that they have missed. Without, they
    /// cannot, and stay wrong about what was in them.
    pub fn replay_endpoint(self, endpoint: impl Into<String>) -> Self {
        Self {
            replay_endpoint: Some(endpoint.into()),
            ..self
        }
    }

    /// Sets the topic of all messages. The default is empty, which vllm-router needs; llm-d reads
    /// `kv@POD@MODEL`.
    pub fn topic(self, topic: impl Into<String>) -> Self {
        let topic = topic.into();
        Self { topic, ..self }
    }

    /// Sets how often the cache is asked for changes. The default is 10 milliseconds.
    ///
    /// What happens and is undone in between is never sent.
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Sets after how long without a change an empty batch is sent. The default is one second.
    ///
    /// A router finds out that it missed the last batch only when the next one arrives.
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat, ..self }
    }

    /// Sets where the blocks are: see [`Format::medium`]. The default is `GPU`.
    pub fn medium(self, medium: impl Into<String>) -> Self {
        Self {
            medium: Some(medium.into()),
            ..self
        }
    }

    /// Sets the data-parallel rank of the worker: see [`Format::dp_rank`]. The default is 0.
    pub fn dp_rank(self, dp_rank: Option<u16>) -> Self {
        Self { dp_rank, ..self }
    }

    /// Limits the events to the namespaces of one model: see [`Format::model`].
    pub fn model(self, model: impl AsRef<[u8]>) -> Self {
        Self {
            model: Some(model.as_ref().to_vec()),
            ..self
        }
    }

    /// Sets how many batches, and how many bytes of them, are kept for replays. The default is
    /// 10,000 and 64 MiB.
    ///
    /// A router that needs older ones gets all that is cached instead, which is about 80 bytes for
    /// each block of 16 tokens.
    pub fn ring(self, batches: usize, bytes: usize) -> Self {
        Self {
            ring: batches,
            ring_bytes: bytes,
            ..self
        }
    }

    /// Sets whether all that is cached is sent to all subscribers once more when a router has
    /// joined late, or this worker was restarted. The default is true.
    ///
    /// vllm-router needs it: it drops replays that have a gap in their numbers. Dynamo's indexer
    /// takes them, so where it is the only router, `false` saves sending everything twice.
    pub fn repeats(self, repeats: bool) -> Self {
        Self { repeats, ..self }
    }

    /// Binds the endpoints, takes the cache's change feed, and starts the thread.
    ///
    /// # Errors
    ///
    /// [`StartError`] names the setting or the endpoint that is refused.
    pub fn start(self, cache: &PrefixCache) -> Result<Publisher, StartError> {
        if self.interval.is_zero() || self.heartbeat.is_zero() {
            return Err(StartError::ZeroInterval);
        }
        let context = zmq::Context::new();
        let publish = bind(&context, zmq::PUB, &self.endpoint)?;
        let replay = self.replay_endpoint.as_deref();
        let replay = replay.map(|endpoint| bind(&context, zmq::ROUTER, endpoint));
        let replay = replay.transpose()?;
        let endpoints = (
            last_endpoint(&publish)?,
            replay.as_ref().map(last_endpoint).transpose()?,
        );
        let feed = cache.change_feed()?;

        let counts = Arc::new(Counts::default());
        let format = self.format(cache.block_size());
        let ring = Ring::new(first_number(), self.ring, self.ring_bytes);
        let worker = Worker {
            feed,
            batcher: Batcher::new(format.clone()),
            outlet: Outlet::new(publish, self.topic, ring, Arc::clone(&counts)),
            replays: replay.map(|socket| Replays::new(socket, format, Arc::clone(&counts))),
            interval: self.interval,
            heartbeat: self.heartbeat,
            repeats: self.repeats,
            counts: Arc::clone(&counts),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("kvtrie-events".to_owned());
        let thread = thread.spawn(move || worker.run(&stopped));
        Ok(Publisher {
            thread: Some(thread.map_err(StartError::System)?),
            stop,
            counts,
            endpoints,
        })
    }

    /// Returns the format of the batches.
    fn format(&self, block_size: usize) -> Format {
        let mut format = Format::new(block_size).dp_rank(self.dp_rank);
        if let Some(medium) = &self.medium {
            format = format.medium(medium);
        }
        if let Some(model) = &self.model {
            format = format.model(model);
        }
        format
    }
}

/// Makes a socket with bounded queues, and binds it.
fn bind(
    context: &zmq::Context,
    kind: zmq::SocketType,
    endpoint: &str,
) -> Result<zmq::Socket, StartError> {
    let socket = context.socket(kind)?;
    socket.set_sndhwm(QUEUE)?;
    socket.set_linger(LINGER)?;
    socket.set_tcp_keepalive(1)?;
    if kind == zmq::ROUTER {
        socket.set_rcvhwm(QUEUE)?;
        socket.set_maxmsgsize(REQUEST)?;
        // A full queue must be an error, not a message lost.
        socket.set_router_mandatory(true)?;
    }
    let bound = socket.bind(endpoint);
    bound.map_err(|error| StartError::bind(endpoint, error))?;
    Ok(socket)
}

/// Returns the endpoint that a socket is bound to, with the port that the system chose.
fn last_endpoint(socket: &zmq::Socket) -> Result<String, StartError> {
    let endpoint = socket.get_last_endpoint()?;
    Ok(endpoint.unwrap_or_else(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Publishes what a cache holds, in a thread of its own, until it is stopped or dropped.
///
/// The publisher keeps the memory of the cache alive, as an owned block does, but not the cache.
///
/// # Examples
///
/// ```
/// use kvtrie::PrefixCache;
/// use kvtrie_events::Publisher;
///
/// let cache = PrefixCache::builder().blocks(1_000).change_feed(true).build()?;
/// let publisher = Publisher::builder("tcp://127.0.0.1:*") // usually tcp://0.0.0.0:5557
///     .replay_endpoint("tcp://127.0.0.1:*") // usually tcp://0.0.0.0:5558
///     .start(&cache)?;
/// println!("routers subscribe to {}", publisher.endpoint());
/// // ... serve requests ...
/// publisher.stop()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher {
    /// The thread, until it is joined.
    thread: Option<JoinHandle<zmq::Result<()>>>,
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    endpoints: (String, Option<String>),
}

impl Publisher {
    /// Returns the default settings of a publisher that binds this endpoint, such as
    /// `tcp://0.0.0.0:5557`.
    ///
    /// The endpoints have no access control. Bind them to an address that only routers reach.
    pub fn builder(endpoint: impl Into<String>) -> PublisherBuilder {
        PublisherBuilder {
            endpoint: endpoint.into(),
            replay_endpoint: None,
            topic: String::new(),
            interval: Duration::from_millis(10),
            heartbeat: Duration::from_secs(1),
            medium: None,
            dp_rank: Some(0),
            model: None,
            ring: 10_000,
            ring_bytes: 64 << 20,
            repeats: true,
        }
    }

    /// Returns the endpoint to subscribe to, with the port that the system chose for `*`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoints.0
    }

    /// Returns the endpoint for replays, likewise.
    #[must_use]
    pub fn replay_endpoint(&self) -> Option<&str> {
        self.endpoints.1.as_deref()
    }

    /// Returns what the publisher has done so far.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        self.counts.snapshot()
    }

    /// Publishes the last changes, ends the thread and closes the sockets.
    ///
    /// Takes at most about a quarter of a second, plus the time to encode all that is cached if it
    /// was just being sent again. Messages that a subscriber has not read by then are dropped.
    ///
    /// # Errors
    ///
    /// If ZeroMQ failed meanwhile, which has ended the thread before.
    ///
    /// # Panics
    ///
    /// If the thread has panicked.
    pub fn stop(mut self) -> io::Result<()> {
        let Some(result) = self.join() else {
            return Ok(());
        };
        let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.map_err(io::Error::from)
    }

    /// Ends the thread, unless that was done before.
    fn join(&mut self) -> Option<thread::Result<zmq::Result<()>>> {
        // Relaxed: a request to stop, which orders nothing. The join orders.
        self.stop.store(true, Ordering::Relaxed);
        Some(self.thread.take()?.join())
    }
}

impl Drop for Publisher {
    /// Does what [`stop`](Self::stop) does, and ignores failures.
    fn drop(&mut self) {
        let _ = self.join();
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("endpoints", &self.endpoints)
            .field("stats", &self.stats())
            .finish()
    }
}
