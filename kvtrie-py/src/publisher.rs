//! The publisher of events for routers, and metrics.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::cache::PrefixCache;
use crate::errors::{PublisherError, no_change_feed};

/// Publishes what a cache holds to routers, as vLLM does, in a thread of its own.
///
/// The cache must be built with `change_feed=True`. `endpoint` is a ZeroMQ endpoint such as
/// `tcp://0.0.0.0:5557`, which has no access control; at `replay_endpoint` routers ask for what
/// they have missed. `interval` is the time between looks at the cache and `heartbeat` the longest
/// time without a message, in seconds. `medium` says where the blocks are, `dp_rank` is the
/// data-parallel rank. Only the namespaces of `model` are published if that is set. `ring` and
/// `ring_bytes` say how many batches are kept for replays. With `repeats=False`, all that is cached
/// is not sent once more when a router has joined late.
///
/// Needs neither the GIL nor the Python objects. Raises `PublisherError` if the endpoint is in use
/// or the cache has no free change feed.
#[pyclass(module = "kvtrie")]
#[derive(Debug)]
pub struct Publisher {
    publisher: Option<kvtrie_events::Publisher>,
    /// The endpoints to subscribe to and to ask for replays.
    endpoints: (String, Option<String>),
    /// The counters when it was stopped.
    last: kvtrie_events::PublisherStats,
}

#[pymethods]
impl Publisher {
    #[new]
    #[pyo3(signature = (
        cache, endpoint, *, replay_endpoint = None, topic = String::new(), interval = 0.01, heartbeat = 1.0,
        medium = "GPU".to_owned(), dp_rank = Some(0), model = None, ring = 10_000, ring_bytes = 64 << 20, repeats = true
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of Python, each a setting"
    )]
    fn new(
        py: Python<'_>,
        cache: &PrefixCache,
        endpoint: String,
        replay_endpoint: Option<String>,
        topic: String,
        interval: f64,
        heartbeat: f64,
        medium: String,
        dp_rank: Option<u16>,
        model: Option<String>,
        ring: usize,
        ring_bytes: usize,
        repeats: bool,
    ) -> PyResult<Self> {
        let mut builder = kvtrie_events::Publisher::builder(endpoint)
            .topic(topic)
            .interval(seconds("interval", interval)?)
            .heartbeat(seconds("heartbeat", heartbeat)?)
            .medium(medium)
            .dp_rank(dp_rank)
            .ring(ring, ring_bytes)
            .repeats(repeats);
        if let Some(endpoint) = replay_endpoint {
            builder = builder.replay_endpoint(endpoint);
        }
        if let Some(model) = model {
            builder = builder.model(model);
        }
        let started = py.detach(|| builder.start(cache.cache()));
        let publisher = started.map_err(|refused| PublisherError::new_err(reason(refused)))?;
        let replays = publisher.replay_endpoint().map(str::to_owned);
        Ok(Self {
            endpoints: (publisher.endpoint().to_owned(), replays),
            last: publisher.stats(),
            publisher: Some(publisher),
        })
    }

    /// The endpoint to subscribe to, with the port that the system chose for `*`.
    #[getter]
    fn endpoint(&self) -> &str {
        &self.endpoints.0
    }

    /// The endpoint for replays, likewise.
    #[getter]
    fn replay_endpoint(&self) -> Option<&str> {
        self.endpoints.1.as_deref()
    }

    /// Returns what was published so far, by name: batches, bytes, replays.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.counters();
        let counters = PyDict::new(py);
        counters.set_item("batches", stats.batches)?;
        counters.set_item("bytes", stats.bytes)?;
        counters.set_item("ring_batches", stats.ring_batches)?;
        counters.set_item("ring_bytes", stats.ring_bytes)?;
        counters.set_item("replays", stats.replays)?;
        counters.set_item("full_replays", stats.full_replays)?;
        counters.set_item("repeats", stats.repeats)?;
        counters.set_item("abandoned_replays", stats.abandoned_replays)?;
        Ok(counters)
    }

    /// Publishes the last changes, and closes the endpoints. Takes at most a quarter of a second,
    /// plus the time to encode all that is cached if it was just being sent again. Does nothing if
    /// it was stopped before.
    ///
    /// Raises `PublisherError` if ZeroMQ failed meanwhile.
    fn stop(&mut self, py: Python<'_>) -> PyResult<()> {
        self.last = self.counters();
        let Some(publisher) = self.publisher.take() else {
            return Ok(());
        };
        let stopped = py.detach(|| publisher.stop());
        stopped.map_err(|failed| PublisherError::new_err(failed.to_string()))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&mut self, py: Python<'_>, _error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.stop(py)
    }

    fn __repr__(&self) -> String {
        let state = if self.publisher.is_some() {
            "at"
        } else {
            "stopped, was at"
        };
        format!("<kvtrie.Publisher {state} {}>", self.endpoints.0)
    }
}

impl Publisher {
    /// Returns the counters, also once it is stopped.
    pub fn counters(&self) -> kvtrie_events::PublisherStats {
        self.publisher
            .as_ref()
            .map_or(self.last, |publisher| publisher.stats())
    }
}

/// Says why a publisher does not start, with the names of this package.
fn reason(refused: kvtrie_events::StartError) -> String {
    match refused {
        kvtrie_events::StartError::Feed(refused) => no_change_feed(refused),
        other => other.to_string(),
    }
}

/// Converts a setting in seconds.
fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    let duration = Duration::try_from_secs_f64(value).ok();
    duration
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| PyValueError::new_err(format!("{name} is {value}: it must exceed zero")))
}
