//! How the library works, and why it is sound. Documentation only.
//!
//! Each claim names its evidence: **M**, a model of `loom-tests/`, in every interleaving within a
//! bound; **T**, a test of `tests/`, with real threads or random operations; **A**, an argument
//! alone. `ci/weaken.sh` breaks the code on purpose, each edge at both ends and each named rule,
//! and prints which model or test fails.
//!
//! # Layers
//!
//! ```text
//! src/
//!   api/         the public types: cache, lookup, prompt, allocate, builder, hold, block,
//!                namespace, sequence, pinned, feed, report; prompt/options,
//!                hold/{fork, publish}, sequence/{publish, end}
//!     ▼
//!   shared/      the part that a cache shares with its holds and blocks:
//!                mod, references, pool, lent, registry, budget
//!     ▼
//!   trie/        the cached blocks:
//!                mod, node, build, layout, state, index, gauge, groups, guard, retired,
//!                publish, release, hashes
//!     evict/     mod, clock, climb, eviction, clear, forecast, density, changes; policy/ ranks
//!     feed/      mod, marks, mirror, view, change
//!     ▼
//!   bucket  hash  id  item  key  prefetch  stats  stripes  sync
//! ```
//!
//! Imports point down only, and may skip a layer. `ci/layers.py` checks this, and that no files
//! import each other in a circle, except the builder and the cache that it builds.
//!
//! # Shape
//!
//! ```text
//!  namespace ──► root ◄─┐ parent
//!                       │
//!             ┌─────────┴──────────────────────────┐
//!             │ node: a run with 1 to 32 slots     │
//!             │ states  [ ][ ][ ][ ]  one word each│◄── a hold pins one word
//!             │ ids     #7 #3 #9 #4                │
//!             │ tokens  ................           │
//!             └──────────▲─────────────▲───────────┘
//!              (node, 1) │   (node, 3) │ a child's parent is a position: a node and an offset
//!             ┌──────────┴──┐  ┌───────┴─────┐
//!             │ another run │  │ another run │
//!             └─────────────┘  └─────────────┘
//! ```
//!
//! * A **node** is a run of consecutive blocks of one prefix, in one allocation with room for 1 to
//!   32 blocks, its *slots*. Blocks that are published behind the last one go into the next slots
//!   (see "Runs that grow"). A prompt that diverges in the middle of a run becomes a child of that
//!   offset. Nodes are never split, and a slot is written once.
//! * A **position** is a node and an offset in it. It stands for one cached block, and also for the
//!   whole prefix up to it. Two positions are equal if and only if their prefixes are, because no
//!   two live nodes have the same parent position and the same first block (invariant 4). So
//!   *(parent position, tokens, items)* identifies a child exactly, by induction from the root.
//! * An **item** is the content that some tokens stand for, such as an image. The block in which it
//!   starts is **keyed**: it matches only if the same items start in it. A keyed block always
//!   starts a node, which stores the items behind its tokens and compares them as it compares those
//!   (rules compare-items, cut-at-items). So no block inside a run has items, and a prompt is
//!   walked and published in **segments**, each of which ends before the next keyed block. A
//!   segment without items takes the path of a prompt without items. Later blocks need no key,
//!   because their prefix differs. No other edge or step is involved: the items are written before
//!   the node is published, as the tokens are, and never change.
//! * The **index** finds a child by a hash of *(parent's key, offset, first block)*. It chains the
//!   keys of nodes, not the hashes of blocks. So a lookup hashes one block in thirty-two, and
//!   compares the others at the speed of `memcmp`.
//! * A walk **prefetches**: it guesses that the next node matches as many blocks as the last one
//!   (for the first node: a full run). Then the key of that node's child follows from the prompt
//!   alone, before the node is compared. The walk prefetches the bucket two nodes ahead and the
//!   node one ahead. A wrong guess only costs prefetches: no data is read through it.
//! * The **clock** stores the position of each cached physical block, and which blocks are
//!   candidates for eviction.
//!
//! A block's chained hash ([`BlockHash`](crate::BlockHash)) is an external name, for routers, logs
//! and the change feed. No match depends on it, so it is computed on request. A node caches that of
//! the prefix before it, so that naming all blocks of a prefix hashes each block once. It is
//! another function than that of the index, whose key is random or from a secret seed. So a
//! client that sees it cannot aim at a bucket. (Caches with one seed agree: T, `seed`.)
//!
//! # Invariants
//!
//! 1. Presence is prefix-closed: if a block is cached, so is every block before it. (T: `oracle`)
//! 2. A held block, and every block before it, is neither claimed nor reused until the last hold
//!    over it is dropped. (M, the block itself: `pin_versus_claim`, `hand_over_versus_claim`; the
//!    blocks before it: `hold_versus_claim_within_its_run`, `hold_versus_claim_of_its_parent`)
//! 3. At any instant each id is in exactly one place: free, owned by one [`Block`](crate::Block),
//!    lent, cached, or in transit in one thread. (M: `claim_versus_claim`, `eviction_versus_reuse`,
//!    all of `pool`; in `allocate`, including its second attempt and the ids that it puts back:
//!    `two_allocations_of_what_there_is`, `two_allocations_of_more_than_there_is`,
//!    `allocation_versus_the_drop_of_a_block`, `allocation_versus_a_passing_hold`)
//! 4. Two live cached blocks never have the same namespace, parent position, tokens and items. (M:
//!    `publish_versus_publish`, `publish_versus_publish_of_another_image`; T: `linear`)
//! 5. A node is unlinked from the index before its parent's count decreases (A: the other order
//!    would do no harm, because every search skips an evicted node), and it is retired after that
//!    (M: `reader_in_the_bucket_versus_reclamation`).
//! 6. No block is ever matched by hash alone. (T: nearly all tests, with every hash equal:
//!    `ci/collide.sh`)
//! 7. A failed call changes nothing that a caller can see, and meanwhile takes no block from
//!    another thread. `allocate` first counts, and takes only the blocks that it has counted. If
//!    other threads then take some of those, it may have taken and evicted a part, which it puts
//!    back. (M: `refusal_versus_allocation`, `refusal_versus_eviction`; T: `api`, `evict`,
//!    `oracle`)
//! 8. An id has one owner at a time. Between the exchange that publishes a run and the end of the
//!    call nothing can fail. The publisher records in the next instruction that the ids belong to
//!    the index, and a panic from there on gives back only the other ids. (T: `threads`)
//!
//! Counting is hierarchical. A hold counts only on its last block, and a node counts on its parent
//! block. Within a run, a block may be claimed only if the next one is gone, which is final.
//! Together these rules give 1 and 2 without a write to any other block of the prefix.
//!
//! # The life of a block
//!
//! | from   | to     | by                            | the deciding step                      |
//! |--------|--------|-------------------------------|----------------------------------------|
//! | free   | owned  | `allocate`                    | the exchange of the pool's head        |
//! | owned  | cached | `publish`                     | the exchange of a bucket's head        |
//! | cached | held   | `lookup`                      | the addition of a pin                  |
//! | held   | cached | drop of the last hold over it | the subtraction of a pin               |
//! | cached | owned  | `allocate`, by eviction       | the claim: the unheld block is gone    |
//! | cached | owned  | `evict`, `evict_from`, `clear` | the claim                             |
//! | cached | free   | `finish_at`                   | the claim                              |
//! | owned  | free   | drop of a `Block`             | the exchange of the pool's head        |
//! | owned  | lent   | `into_id`                     | the setting of its bit                 |
//! | lent   | owned  | `adopt`                       | the clearing of its bit                |
//!
//! # The state word
//!
//! One word per slot decides everything about its block:
//!
//! ```text
//!    63       62      61 60      59      58  57   56     55        28  27      0
//! ┌────────┬────────┬───────┬──────────┬────────┬───────┬────────────┬──────────┐
//! │ listed │ queued │ phase │ followed │  free  │ block │  children  │   pins   │
//! └────────┴────────┴───────┴──────────┴────────┴───────┴────────────┴──────────┘
//! ```
//!
//! * **pins**, **children**: 28 bits each, because a cache has at most 2^28 blocks. A count that
//!   reaches 2^28 - 2^22 aborts the process, as in `Arc`: the 2^22 threads that Linux allows cannot
//!   together carry into the next field.
//! * **block**: set for a block, also for a closed one, and not for a slot without one.
//! * **phase**: `00` here, `01` gone, `10` empty, `11` closed or shut. An empty slot has no block
//!   yet: it is vacant, or with a pin, its writer's, it is being written. `11` is final: for a
//!   block, the cache was dropped; for an empty slot, it will never have a block. A lookup may pin
//!   only `00`, so one comparison refuses all other phases.
//! * **followed**: the next slot of the run has, or had, a block. Once set, it stays set.
//! * **queued**: set with the first pin, until the gauge finds the block without one (see *The
//!   gauge*).
//! * **listed**: a hold that ended here was dropped, and listed the block as a candidate (see
//!   *Candidates*). A root counts as listed.
//!
//! # When each operation takes effect
//!
//! * **lookup, peek**: at the last search that found no block below the one reached. The pin (or,
//!   for `peek`, the load) comes later and shows that the block was still cached then. A block that
//!   has left never returns at the same position. So the block was cached at the instant of the
//!   search, and no longer match existed. If the pin is refused, the walk continues from the last
//!   block that has not left. Every search skips evicted nodes, so no search waits for the thread
//!   that unlinks one. At the end the lookup reads the root again: if the namespace was cleared
//!   meanwhile, the result may be a part of an earlier prefix, and the walk restarts. (M, the
//!   longest match at one instant: `longest_match_versus_eviction_and_publication`; the rest:
//!   `longest_match_versus_cascade`, `reuse_versus_lookup`, `clear_versus_half_a_prefix`,
//!   `clear_all_versus_half_a_prefix`; T: `linear`)
//! * **publish**: run by run, at the exchange of the bucket's head. If the head has changed since
//!   the bucket was searched, the search is repeated, because an equal node can only be inserted at
//!   the head. Blocks that are appended to a run: at the exchange of the first one's word. (M:
//!   `publish_versus_publish`, `twin_publication`, `append_versus_append_of_the_same`; T: `linear`)
//! * **drop of a hold**: at the subtraction. (M: `fork_versus_unpin`; T: `linear`)
//! * **truncate**: at the subtraction on the later block. The earlier one is pinned before, while
//!   the later pin keeps it. (M: `truncate_versus_claim_within_its_run`,
//!   `truncate_versus_claim_of_the_parent`, `truncate_versus_drop_of_the_cache`; T: `linear`)
//! * **evict_from**, **finish_at**: the hold is dropped at the subtraction. Then each block leaves
//!   at its claim, the last one first, up to the first that is held or has a child. So a lookup at
//!   the same time holds a whole prefix, and what it holds stays. (M:
//!   `end_of_request_versus_lookup`, `end_of_request_versus_publication`,
//!   `end_of_request_versus_eviction`; T: `linear`)
//! * **claim**: at the exchange of the state word, which fails if the word has changed since it was
//!   loaded. (M: `claim_versus_claim`, `two_sweepers`; T: `linear`)
//! * **clear**: when the namespace's root is replaced. Lookups no longer find the blocks under the
//!   old root. Unheld ones are evicted at once (see [`memory`]). Held ones are evicted after their
//!   last hold is dropped, when the hand passes. The clearing thread keeps a pin on the old root
//!   until it returns, so that no other root is allocated at that address. (M:
//!   `clear_versus_lookup`, `clear_versus_its_old_root`)
//! * **clear_all**: for each namespace, when its root is replaced. (M: `clear_all_versus_lookup`,
//!   `clear_all_versus_publication`; T: `namespaces`)
//! * **namespace**: under the registry's lock. Above a number of namespaces it first sweeps the
//!   unused ones, which have no handle. The exchange of the root's state word decides: it fails if
//!   the root has a hold or a child. The roots of cleared namespaces are freed in the same way. (M:
//!   `a_namespace_made_twice`, `forgetting_versus_the_last_handle`,
//!   `forgetting_versus_eviction_of_the_last_block`, `forgetting_versus_clear`; T: `namespaces`)
//!
//! # Edges and rules
//!
//! [`orderings`] lists every pair of orderings that the code depends on, and every step that is
//! easily forgotten, with its evidence. [`words`] lists what several threads write, and how often.
//!
//! # Runs that grow
//!
//! A decoded text is published one block at a time. If each block became a node of its own, a
//! lookup would search an index for every block. So a node may have more slots than blocks, and the
//! holder of its last block publishes into the next slot.
//!
//! The holder loads the word of the next slot, and acts on it:
//!
//! | word    | step                                                                               |
//! |---------|------------------------------------------------------------------------------------|
//! | vacant  | reserves it, writes ids and tokens, fills it; then turns its pin into *followed*   |
//! | writing | shuts it, and looks again                                                          |
//! | here    | compares the tokens: adopts the block, or publishes a child through the index      |
//! | gone, shut, or no slot | publishes a child through the index                                 |
//!
//! * A slot has one writer: the thread that reserved it. The writer never waits, and no thread
//!   waits for it. If another thread has shut the slot meanwhile, filling it fails, and the writer
//!   publishes a child too. So room is lost only if two holders of one block publish at the same
//!   time. (M: `reserve_versus_reserve`, `fill_versus_load_slot`)
//! * A child of a block is published only once the next slot is neither vacant nor being written.
//!   So at the instant at which a lookup loads such a word, the block has no child either: it is
//!   the longest match. (M: `append_versus_append_of_another`; T: `linear`)
//! * Several blocks are appended at once: the words of the later slots are written first, and
//!   filling the first slot makes all of them visible. No thread looks at a later slot before it
//!   has seen the block in front of it. (M: `append_versus_lookup`)
//! * `Header::filled` only saves loads. The words behind it decide.
//! * A block may be claimed if it is not followed, or if the block that follows it has left. Which
//!   of the two holds may change until the claim. So the claim loads the word, looks at the next
//!   one if the word says *followed*, and exchanges that very word: a holder that has appended
//!   since has changed it. (M: `follow_versus_claim`, `append_versus_eviction`)
//! * The room of a new node: one slot for each block that the publisher knows of. A single block
//!   behind another, or a short run behind a short one, seems to be the step of a text that grows.
//!   Such a run gets the room of a full one, or eight slots behind a run of less than eight, so
//!   that short chats do not take much memory. Only the first child gets more room: a prefix that
//!   many prompts share has many short children.
//!
//! # Candidates
//!
//! The hand visits only *candidates*: the last live block of a run, if it has no child and was let
//! go of. A bitmap stores one bit for each. A lost candidate would be lost for good. So the rule
//! is: every change that makes a block a candidate comes with listing it, and a thread that unlists
//! a block looks at it again afterwards.
//!
//! * A prefix is published: nothing is listed, because the publisher holds the end. If the block
//!   before it was listed, it is unlisted, because it has a block behind it that the publisher
//!   holds.
//! * A hold is dropped, and the block is not marked *listed*: the thread lists the block, and then
//!   marks it and removes its pin in one step. In this order, because the cache may be freed when
//!   the pin is gone, and because another thread that sees the mark lists nothing. Later releases
//!   are one subtraction. (M: `release_versus_release`, `release_versus_sweep`,
//!   `release_versus_eviction_of_the_follower`)
//! * A block is claimed: the previous block is now the last of the run. The same thread claims or
//!   lists it.
//! * A node is unlinked: if its parent has no other child, the same thread claims or lists the
//!   parent.
//! * A listed block turns out to have children, or to be evicted: the hand unlists it, and looks
//!   again.
//!
//! Listing and unlisting are read-modify-writes of one word. If the listing comes second, the bit
//! stays set. If it comes first, the unlisting thread acquires it, and its second look sees
//! everything that the listing thread did before. A bit that is set without need costs the hand one
//! visit. (M: `list_versus_unlist`, `last_child_versus_unlisting`,
//! `eviction_of_a_tail_versus_last_child`)
//!
//! So the hand never meets a block that only its publishers hold, and a decoder that publishes
//! block by block writes to no bitmap. A block that was let go of and is held again stays listed,
//! so that a lookup and the drop of its hold write only to the block's own word. No thread clears
//! the mark while the block is cached: a release that has seen it could then lose the block.
//!
//! # The hand
//!
//! The hand finds candidates, and `policy` chooses: of the next 16 that it passes and the 8 best
//! that were left, the one of least rank is evicted, or the oldest unless its rank is 1.5 times as
//! high. Up to four chains are chosen at a time: of one or two blocks two for every 16 candidates,
//! longer ones one. The choice reads stamps alone,
//! 4 bytes a block, by id. From a claimed block the hand **climbs**: to the previous block of the
//! run, and from an empty node to the parent, as long as they are unheld and more blocks are
//! wanted. With climbing, all blocks that one request used leave together, as under LRU.
//!
//! A hit stamps only the last block of its prefix. So the climb hands the stamp on: a block before
//! an evicted one inherits its last use and its hits. The climb stops at a block that is *apart*:
//! used more often than the one behind it, or of other terms. That one is a candidate of its own.
//! (T: `evict`, `priority`, `hand`)
//!
//! All that the ranking knows is hints, in numbers that loom does not explore: a lost or a stale
//! one makes a rank wrong, and nothing else. Time is counted in ticks, of a thousandth of the
//! capacity or one block. Each thread adds to the shared count when its own count of published
//! blocks passes a tick. Sixteen times in a capacity, and at most once in 4,096 blocks, the thread
//! that gets a lock without waiting computes the ranks anew.
//!
//! A sweep that has enough blocks in the middle of a chain records its new tail, whose id the hand
//! may have passed. The next sweep resumes there, unless the tail was used since or another block
//! leaves first: then the tail is one of the candidates. (T: `evict`, `priority`)
//!
//! The end of a request climbs too, from the end of its hold and up to the first block to keep. It
//! stops at no block that is apart, needs no candidate to start from, and records no position: the
//! prefix that it keeps was just used. If another thread evicts a node of the same prefix, the
//! request may find a parent that still counts its child, and stops there. The other thread lists
//! that parent, so the rest is evicted like any unheld block. (M:
//! `end_of_request_versus_eviction_of_a_chain`)
//!
//! `allocate` must not evict without success. So before the hand moves, a forecast visits the block
//! at which the next eviction resumes, the candidates that the last one left, and then those from
//! the hand on, each once. It climbs from
//! each as long as blocks are unheld, until it has counted enough. An eviction may choose others,
//! but finds as many. If there are too few, nothing changes. A forecast costs as much as evicting
//! the blocks counted, plus a visit of every candidate in the worst case. A successful forecast
//! moves the hand over the words of candidates in which it counted nothing: at most the hand would
//! have unlisted a block there, which can wait.
//!
//! # Reclamation
//!
//! 1. Physical ids are reused at once, regardless of readers in other threads (M:
//!    `peek_versus_reuse`). Only the memory of nodes waits for an epoch (M:
//!    `reader_in_the_bucket_versus_reclamation`, `peek_versus_reuse`).
//! 2. A node is reached through the index, through the slots, through a child's parent link, or
//!    through a hold. (A)
//! 3. The thread that claims a node's first block retires the node. By then all its blocks are
//!    gone, so it has no hold and no child. None can be added: both need a pin, and a pin is
//!    refused. The node is unlinked, and the same thread empties those of its slots that other
//!    claiming threads have not emptied yet. (M: `unlink_versus_unlink_of_the_neighbour`,
//!    `tail_versus_retirement`)
//! 4. So a thread that takes a guard from now on cannot reach the node, and an older guard keeps
//!    it. A child that the older thread still sees was retired earlier or not at all. In both cases
//!    its parent was retired after the guard was taken, and so on up to the root. (A)
//! 5. A hold keeps no guard: the pin count keeps the node. (M: as invariant 2)
//!
//! [`memory`] says which thread frees a node, and what happens while none can be freed.
//!
//! # A hold outlives its cache
//!
//! A hold must be cheap, so it does not count in a shared counter that all holds would write to.
//! The state words already count every hold. Dropping the cache adds up their pins and marks each
//! word *closed* in the same step (`count_holds`). From then on, a thread that drops a hold sees
//! the mark and decrements the sum. The sum includes the roots of cleared namespaces. Publishing
//! needs a block, which counts as a reference to the cache, so a closed cache no longer changes
//! shape. (M: `unpin_versus_count_of_holds`, all of `closing`; under a cleared root:
//! `hold_under_an_old_root_versus_drop_of_the_cache`.) Linux's percpu-refcount has the same idea:
//! cheap counts during use, one exact sum at the end.
//!
//! # The gauge
//!
//! No word says how many blocks are held, because a lookup writes to its last block only. To count
//! held children in each block would add a read-modify-write for each node of a prefix, and all
//! requests behind one system prompt would write to its last word. So the gauge counts when it is
//! asked (`trie/gauge.rs`), from what has changed:
//!
//! | block    | becomes | by                                | the deciding step                  |
//! |----------|---------|-----------------------------------|------------------------------------|
//! | unqueued | queued  | a lookup ends here                | the setting of *queued*            |
//! |          | queued  | a publication ends here           | the block is born so               |
//! | queued   | watched | the gauge finds it pinned         | (stays *queued*)                   |
//! | queued   | unqueued| the gauge finds it without a pin  | the exchange that clears *queued*  |
//! | watched  | unqueued| the same, or the block has left   | the same                           |
//!
//! Every block with a pin is queued or watched once the call that pinned it has returned, and so
//! have all earlier calls that pinned or published it, or queued a block of the same 64. A hold
//! that is dropped tells the gauge nothing: it could not, since the cache may be freed directly
//! after the pin is gone. Instead the gauge looks at each watched block again. It adds up the
//! prefixes of the watched blocks in a tree of its own, in which a run counts once however many
//! requests share it: an end changes the tree up to the first run that something else keeps. So a
//! count takes time for each block at which holds end, and for each run newly held or let go. It is
//! exact if no other thread works. (M: all of `gauge`; T: `oracle`)
//!
//! # Change feed, lent ids
//!
//! [`feed`] says how one reader learns of each change; `shared/lent.rs`, how an engine keeps ids.
//! (M: `lend_versus_adopt`; T: `linear`, `oracle`)
//!
//! # Costs
//!
//! * One held block keeps its whole run in memory: at worst `run_length` times the tokens of the
//!   cached blocks. On real traces runs are evicted whole. See `benches/NOTES.md`.
//! * Holds that end at the same block all write to one word. This limits the rate of lookups of one
//!   prompt that all threads look up to the same end.
//! * Between a claim and the listing of the block above it, that block and the blocks before it
//!   belong to one thread. If the thread is suspended there, `allocate` does not see them and may
//!   refuse. It never waits.
//! * A block in which an item starts costs as much as a run of its own, plus 36 bytes an item.
//! * `evict` and `clear` compute the hash of each evicted block: about 45 ns for 16 tokens.
//! * The index has a bucket of 8 bytes for each block, or up to twice as many, and at least 1,024:
//!   a cold prompt of one block costs two cache misses. With long runs most buckets are empty.
//! * A node leaves up to 56 bytes unused, so that its parts start cache lines. Prefetching whole
//!   nodes makes lookups of long prompts slower if the nodes are in the first-level caches, and
//!   faster otherwise.
//!
//! # Considered and rejected
//!
//! * *A chained hash per block as the key*: 8 bytes and a hash per block, and every lookup hashes
//!   every token. Chaining the keys of nodes gives the same results.
//! * *Items in the tokens*, as an id for each image in place of its placeholders: exact only while
//!   a table of all images lives, and the hashes of two processes differ.
//! * *Items hashed into the key of the node alone*: a collision would return another image's block.
//! * *A live length in each node*: it follows from the states, and a second word could disagree.
//! * *A count on each block of a held prefix*, as in vLLM: a lookup would write to every block.
//! * *A queue of free ids*: 16 bytes per block in crossbeam's `ArrayQueue`, and an exchange per id.
//!   A linked stack takes 8 bytes, and one exchange for any number of ids. It counts itself: a
//!   number of free ids beside it would be written by each call.
//! * *An `Arc` in each hold*: one counter that every lookup and every drop would write to.
//! * *A lifetime on holds*: an engine could not store them in its request objects.

pub mod feed;
pub mod memory;
pub mod orderings;
pub mod words;
