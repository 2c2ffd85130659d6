//! How to embed the cache, question by question. Documentation only.
//!
//! Each page answers one question on a screen or two, with code that is compiled and tested.
//! `cargo run --release --example engine` shows most of it at once: a scheduler that admits,
//! preempts, forks and cancels. [`design`](crate::design) describes how the cache works inside.
//!
//! # Setting up
//!
//! * [How many blocks, and of what size?](sizing) The memory for keys and values divided by the
//!   bytes of a block.
//! * [How do block ids meet the KV pool on a device?](device) An id is an offset. Publish after the
//!   write, let go after the read.
//! * [Which threads may call what?](threads) Any thread, anything. `namespace`, `clear` and
//!   `clear_all` take a lock.
//! * [How do LoRA adapters and tenants stay apart?](namespaces) Each has a namespace.
//! * [How do several devices share a cache?](parallelism) One cache for each KV pool. Ranks that
//!   each have one get the same `seed`.
//! * [How does an engine in Python use it?](python) `pip install ./kvtrie-py`; a table of engines.
//! * [Which metrics does a dashboard read?](metrics) `stats`, and `in_use`.
//! * [How does a router know what each worker caches?](cluster) Start a `Publisher` of
//!   `kvtrie-events`, which sends KV events as vLLM does.
//! * [How do I send changes another way?](routers) Poll the change feed.
//! * [How are evicted blocks saved, and who may keep ids?](offloading) Evict ahead; `into_id` and
//!   `adopt` for a free list of your own.
//!
//! # Running requests
//!
//! * [What if blocks run out?](out_of_blocks) Preempt the youngest request with `into_prompt`, and
//!   try again.
//! * [How does chunked prefill work?](chunked_prefill) Call `advance` for each chunk.
//! * [How does speculative decoding work?](speculative) `grow` with their number, push what is
//!   accepted, `truncate` the rest.
//! * [Where do a draft model's keys and values go?](draft_models) To a cache of their own, a
//!   namespace, or the same blocks.
//! * [How do parallel samples and beams share a prompt?](sampling) By `fork`.
//! * [What does a request leave behind?](cancellation) Its complete blocks, or with `finish_at` a
//!   part of them.
//! * [How does a waiting request keep its prefix?](waiting_queue) Look it up when it arrives, and
//!   drop the hold.
//! * [How long does a system prompt stay?](priorities) Longer at high priority, always if pinned.
//! * [What if two images have the same tokens?](images) Name each image by an item of the prompt.
//! * [What if the weights change?](weight_update) Take a namespace for each version, and clear the
//!   old one.
//!
//! # Coming from another cache
//!
//! Their calls and ours, one table each: [vLLM](from_vllm), [SGLang](from_sglang),
//! [TensorRT-LLM](from_tensorrt_llm), [kvbm](from_kvbm) (NVIDIA Dynamo's block manager), and a
//! [single-threaded cache in Python](from_python). A [checklist] goes through what the
//! tests of vLLM and mistral.rs expect of such a cache.

#[doc = include_str!("guide/cancellation.md")]
pub mod cancellation {}
#[doc = include_str!("guide/checklist.md")]
pub mod checklist {}
#[doc = include_str!("guide/chunked_prefill.md")]
pub mod chunked_prefill {}
#[doc = include_str!("guide/cluster.md")]
pub mod cluster {}
#[doc = include_str!("guide/device.md")]
pub mod device {}
#[doc = include_str!("guide/draft_models.md")]
pub mod draft_models {}
#[doc = include_str!("guide/from_kvbm.md")]
pub mod from_kvbm {}
#[doc = include_str!("guide/from_python.md")]
pub mod from_python {}
#[doc = include_str!("guide/from_sglang.md")]
pub mod from_sglang {}
#[doc = include_str!("guide/from_tensorrt_llm.md")]
pub mod from_tensorrt_llm {}
#[doc = include_str!("guide/from_vllm.md")]
pub mod from_vllm {}
#[doc = include_str!("guide/images.md")]
pub mod images {}
#[doc = include_str!("guide/metrics.md")]
pub mod metrics {}
#[doc = include_str!("guide/namespaces.md")]
pub mod namespaces {}
#[doc = include_str!("guide/offloading.md")]
pub mod offloading {}
#[doc = include_str!("guide/out_of_blocks.md")]
pub mod out_of_blocks {}
#[doc = include_str!("guide/parallelism.md")]
pub mod parallelism {}
#[doc = include_str!("guide/priorities.md")]
pub mod priorities {}
#[doc = include_str!("guide/python.md")]
pub mod python {}
#[doc = include_str!("guide/routers.md")]
pub mod routers {}
#[doc = include_str!("guide/sampling.md")]
pub mod sampling {}
#[doc = include_str!("guide/sizing.md")]
pub mod sizing {}
#[doc = include_str!("guide/speculative.md")]
pub mod speculative {}
#[doc = include_str!("guide/threads.md")]
pub mod threads {}
#[doc = include_str!("guide/waiting_queue.md")]
pub mod waiting_queue {}
#[doc = include_str!("guide/weight_update.md")]
pub mod weight_update {}
