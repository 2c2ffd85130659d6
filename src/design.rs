//! How it works, and why that is sound. Documentation only.
//!
//! A claim says how it is known: **M**, from a model of `loom-tests/`, in every interleaving within a bound;
//! **T**, from a test of `tests/`, with real threads or random operations; **A**, by argument alone.
//! `ci/weaken.sh` breaks the code on purpose, each edge at both ends and each rule that is easily
//! forgotten, and prints which model or test then fails.
//!
//! # Shape
//!
//! ```text
//!  namespace ──► root ◄─┐ parent
//!                       │
//!             ┌─────────┴──────────────────────────┐
//!             │ node: a run of 1 to 32 blocks      │
//!             │ states  [ ][ ][ ][ ]  one word each│◄── a hold pins one word
//!             │ ids     #7 #3 #9 #4                │
//!             │ tokens  ................           │
//!             └──────────▲─────────────▲───────────┘
//!              (node, 1) │   (node, 3) │ a child names a position: a node and an offset
//!             ┌──────────┴──┐  ┌───────┴─────┐
//!             │ another run │  │ another run │
//!             └─────────────┘  └─────────────┘
//! ```
//!
//! * A **node** is a run of consecutive blocks of one prefix, published together: one allocation,
//!   immutable but for its state words. A prompt that parts from a run in its middle becomes a child
//!   that hangs off that offset; nothing is ever split.
//! * A **position** is a node and an offset in it: one cached block, and at the same time the whole
//!   prefix up to it. Two positions are equal if and only if the prefixes are, because no two live
//!   nodes have the same parent position and the same first block (invariant 4). So a child is
//!   identified by *(parent position, tokens)*, exactly, by induction from the root.
//! * The **index** finds a child by a hash of *(parent's key, offset, first block)*. Chaining the
//!   keys of nodes, rather than the hashes of blocks, means that a lookup hashes one block in
//!   thirty-two and compares the rest at the speed of `memcmp`.
//! * A walk **looks ahead**: it guesses that the next node matches as many blocks as the last (the first: a full
//!   run). Then the key of its child follows from the prompt alone, before it has been compared. The bucket is
//!   asked for two nodes ahead, the node one. A wrong guess costs prefetches: nothing is read through it.
//! * The **clock** knows for each physical block where it is cached, and which are worth a look.
//!
//! A block's chained hash ([`BlockHash`](crate::BlockHash)) is a name for the outside: routers, logs.
//! Nothing inside depends on it, so it is worked out when somebody asks. A node then notes the hash of the
//! prefix before it, and who names a whole prefix hashes each of its blocks once.
//!
//! # Invariants
//!
//! 1. Presence is prefix-closed: if a block is cached, so is every block before it. (T: `oracle`)
//! 2. A held block, and every block before it, is neither claimed nor reused until the last hold
//!    over it is dropped. (M, the block itself: `pin_versus_claim`, `hand_over_versus_claim`; the
//!    blocks before it: `hold_versus_claim_within_its_run`, `hold_versus_claim_of_its_parent`)
//! 3. At any instant each id is in exactly one place: free, owned by one [`Block`](crate::Block),
//!    cached, or on its way between two of these in one thread's hands. (M: `claim_versus_claim`,
//!    `eviction_versus_reuse`, all of `pool`; in `allocate`, its second attempt and what it puts
//!    back included: `two_allocations_of_what_there_is`, `two_allocations_of_more_than_there_is`,
//!    `allocation_versus_the_drop_of_a_block`, `allocation_versus_a_passing_hold`)
//! 4. Two live cached blocks never have the same namespace, parent position and tokens. (M:
//!    `publish_versus_publish`; T: `linear`)
//! 5. A node is unlinked from the index before its parent's count falls (A: the other order does no
//!    harm either, since every search skips a node that has left), and retired after that (M:
//!    `reader_in_the_bucket_versus_reclamation`).
//! 6. Nothing is ever matched by hash alone. (T: all tests, with every hash equal: `ci/collide.sh`)
//! 7. A failed call changes nothing that a caller can see, and takes no block away from another
//!    thread meanwhile. `allocate` counts first, and takes only what it has counted. If other
//!    threads then take what it had counted on, it has taken and perhaps evicted a part, which it
//!    puts back. (M: `refusal_versus_allocation`, `refusal_versus_eviction`; T: `api`, `evict`,
//!    `oracle`)
//! 8. An id has one owner at a time. Between the exchange that publishes a run and the end of the call nothing can fail:
//!    the publisher notes in the next instruction that the ids are the index's, and whatever unwinds from there on gives
//!    back the others alone. (T: `threads`)
//!
//! Counting is hierarchical. A hold counts on its last block alone, and a node counts on the block it
//! hangs off. Within a run, a block may be claimed only if the one behind it is gone, which is
//! final. Together these give 1 and 2 without a write to any other block of the prefix.
//!
//! # The life of a block
//!
//! | from   | to     | by                                | the step that decides               |
//! |--------|--------|-----------------------------------|-------------------------------------|
//! | free   | owned  | `allocate`                        | the exchange of the pool's head     |
//! | owned  | cached | `extend`                          | the exchange of a bucket's head     |
//! | cached | held   | `lookup`                          | the addition of a pin               |
//! | held   | cached | drop of the last hold over it     | the subtraction of a pin            |
//! | cached | owned  | `allocate`, through the hand      | the claim: nobody holds it, and it is gone |
//! | cached | free   | `evict`, `evict_all`, `clear`  | the same                            |
//! | owned  | free   | drop of a `Block`                 | the exchange of the pool's head     |
//!
//! # The state word
//!
//! One word for each block decides everything about it. Its layout is made for what is here and for what comes next, so
//! that no later change has to move a field:
//!
//! ```text
//!   63 62   61 60     59      58   56  55        28  27      0
//! ┌───────┬───────┬─────────┬────────┬────────────┬──────────┐
//! │ free  │ phase │ follow  │  heat  │  children  │   pins   │
//! └───────┴───────┴─────────┴────────┴────────────┴──────────┘
//! ```
//!
//! * **pins**, **children**: 28 bits each, since a cache has at most 2^28 blocks. A count that reaches 2^28 - 2^22 ends
//!   the process, as an `Arc` does: the 2^22 threads that Linux allows cannot together carry into the next field.
//! * **heat**: priority and warmth in one prefix code (`trie/policy.rs`). `1ww` is high, with a warmth of 0 to 3; `01w` is
//!   normal; `001` is kept for a priority below normal, which is never warm. The leading one lasts; the bits below it come
//!   and go. A hit sets them all, the hand takes one away, and a higher priority is a bit more: each is one
//!   read-modify-write, and no two of them can lose the priority.
//! * **phase**: `00` here, `01` gone, `10` kept, `11` closed. `10` is kept for the slot of a run that grows in place and
//!   holds no block yet; with a pin, its writer's, it is being written. `11` is final: of a block, that the cache was
//!   dropped; of such a slot, that it will never hold a block. A lookup may pin only `00`, so one comparison refuses all
//!   the others.
//! * **follow**: kept, for a block behind which a run has grown. Once set it stays.
//! * Two bits are **free**.
//!
//! # When each operation takes effect
//!
//! * **lookup, peek**: at the last search that found nothing below the block reached. The pin (or,
//!   for `peek`, the look) comes later and shows that the block had not left by then; what has left
//!   never comes back under the same position, so it was there at that instant, and nothing longer
//!   was. If the pin is refused, the walk goes on from the last block that has not left. Every
//!   search skips a node that has left, so no search waits for the thread that unlinks it. At the
//!   end the root is read again: if the namespace was cleared meanwhile, what was found may be a
//!   part of what was cached before, and the walk starts again. (M, the longest match at one
//!   instant: `longest_match_versus_eviction_and_publication`; the rest:
//!   `longest_match_versus_cascade`, `reuse_versus_lookup`, `clear_versus_half_a_prefix`,
//!   `clear_all_versus_half_a_prefix`; T: `linear`)
//! * **publish**: run by run, at the exchange of the bucket's head. If the head has changed since
//!   the bucket was searched, the search is repeated: an equal node could only have come in at the
//!   head. (M: `publish_versus_publish`, `twin_publication`; T: `linear`)
//! * **let go**: at the subtraction. (M: `fork_versus_unpin`; T: `linear`)
//! * **claim**: at the exchange of the state word, which fails if the word is not what it was. (M:
//!   `claim_versus_claim`, `two_sweepers`; T: `linear`)
//! * **clear**: when the namespace's root is replaced. Lookups no longer find what hung off the old
//!   root. Unheld blocks of it are evicted at once, held ones after their last hold, when the hand
//!   passes. The clearing keeps a pin on the old root to its end, so that no other root is
//!   allocated in its place. (M: `clear_versus_lookup`, `clear_versus_its_old_root`)
//! * **clear_all**: for each namespace, when its root is replaced. (M: `clear_all_versus_lookup`,
//!   `clear_all_versus_publication`; T: `namespaces`)
//! * **namespace**: under the registry's lock. Above a number of namespaces it first forgets the
//!   unused ones, which have no handle. The exchange of the root's state word decides: it fails if
//!   the root has a hold or a child. The roots of cleared namespaces are freed in the same way. (M:
//!   `a_namespace_made_twice`, `forgetting_versus_the_last_handle`,
//!   `forgetting_versus_eviction_of_the_last_block`, `forgetting_versus_clear`; T: `namespaces`)
//!
//! # Edges
//!
//! Every pair of orderings that something depends on has a name. Both ends carry it, so that
//! `grep '(publish)'` shows the whole edge.
//!
//! | edge | releases | acquires | so that | what fails without |
//! |---|---|---|---|---|
//! | publish | `Index::publish` | `Index::find`, `publish`, `unlink` | a node that is found is fully written, and so are its block's keys and values | M: `publish_versus_find`, `publish_versus_publish`, `unlink_versus_publish` |
//! | let-go | `State::unpin` | `State::claim`, `claim_root`, `close` | what a holder read comes before the block is reused | M: `pin_versus_claim`, `unpin_versus_claim_of_the_root`, `unpin_versus_census` |
//! | orphan | `State::drop_child` | `State::claim`, `claim_root` | a node is unlinked before its parent is claimed | M: `holder_of_the_child_versus_claim_of_the_parent`, `last_child_versus_claim_of_the_root` |
//! | run-order | `State::claim` | `State::has_left` | what a hold saw of a whole run comes before any of it is reused, whoever claims which block | M: `holder_of_the_tail_versus_claim_of_the_head` |
//! | last-child | `State::is_parent` | `State::drop_child` | of two threads that take away the rest of a run and the last child, the second knows it is | M: `tail_versus_last_child` |
//! | slot | `Clock::enter` | `Clock::position` | a node that the hand reaches is fully written | M: `enter_versus_visit` |
//! | list | `Clock::list` | `Clock::unlist` | no candidate is lost (below) | M: `list_versus_unlist` |
//! | free | `Pool::put` | `Pool::take` | the last owner is done with a block before the next has it | M: `take_versus_put` |
//! | clear | `Registry::renew` | `Space::root` | a root is fully written | M: `clear_versus_lookup` |
//! | clear-race | the fence in `guard::enter` | the fence in `Space::still_has` | a lookup that saw a part of what a clearing evicts leave sees the new root too | M: `clear_versus_half_a_prefix`, `clear_all_versus_half_a_prefix` |
//! | last-reference | `release`, `release_hold`, `close` | the pin in `census`, the load in `free` | everybody is done with the cache before it is freed | M: `publication_versus_drop_of_the_cache` (the pin); T: `blocks_outlive_the_cache`, `holds_move_between_threads_and_outlive_the_cache`, under ThreadSanitizer (the others) |
//! | stripe | the end of a thread | the start of one | its counts are added to | A: a statistic, which loom does not explore |
//! | outermost-pin | the fence in `guard::enter` | the same | of two threads that publish and then look, one finds the other's | M: `publishers_do_not_miss_each_other` |
//!
//! The last one is the trap in this design. With acquire and release alone, two threads may each
//! publish a block and then each miss the other's, in two buckets. crossbeam-epoch's `pin` has the
//! sequentially consistent fence that forbids it, but only for the outermost guard of a thread. So the
//! crate has a collector of its own, and never calls out while it holds a guard.
//!
//! # Rules
//!
//! What is easily forgotten has a name too, which the statements that keep it carry.
//!
//! | rule | what goes wrong without | what fails without |
//! |---|---|---|
//! | refused-pin | a hold on a block that has left | M: `pin_versus_claim` |
//! | pin-to-child | the pin goes before the child comes, and a parent is claimed | M: `hand_over_versus_claim` |
//! | claim-by-exchange | two threads claim one block, or one that was just pinned | M: `claim_versus_claim`; T: `every_history_has_an_explanation` |
//! | confirm-children | a block with neither rest of its run nor child is listed by no thread | M: `tail_versus_last_child` |
//! | mark-and-count | a hold is let go uncounted, and the cache is never freed | M: `unpin_versus_census` |
//! | search-again | two equal nodes | M: `publish_versus_publish`; T: `every_history_has_an_explanation` |
//! | mark-first | a node is linked behind one that leaves, or one that left stays linked | M: `unlink_versus_unlink_of_the_neighbour` |
//! | walk-again | a node is retired while it is linked | M: `unlink_versus_unlink_of_the_neighbour` |
//! | skip-gone | a node that has left hides the one that came in its place | M: `pin_versus_claim` |
//! | look-first | the count of a block that has left never stops rising | M: `lookups_versus_claim_of_the_tail` |
//! | last-first | a block is cached, and the one before it is not | M: `hold_versus_claim_within_its_run`; T: `agrees_with_a_naive_cache` |
//! | unlink-then-uncount | a parent is claimed while a child of it can be found | A: a child says that it is gone before its parent's count falls, so every search skips it, and its link to the parent is followed only under a guard older than the parent's end |
//! | unlink-then-retire | a search reads a node that was freed | M: `reader_in_the_bucket_versus_reclamation` |
//! | wait-for-epoch | the same | M: `peek_versus_reuse`, `reader_in_the_bucket_versus_reclamation` |
//! | no-slot-left | the hand reads a node that was freed | M: `tail_versus_retirement` |
//! | empty-then-give | the slot of an id's next owner is emptied | M: `eviction_versus_reuse` |
//! | own-entry | the same | M: `leave_versus_enter_anew` |
//! | second-look | a candidate is lost | M: `list_versus_unlist`, `last_child_versus_unlisting` |
//! | list-the-last | the same | M: `list_versus_unlist`; T: `agrees_with_a_naive_cache` |
//! | list-the-end | the same | T: `agrees_with_a_naive_cache` |
//! | new-tag | an id is on the stack twice | M: `take_versus_the_same_top_again` |
//! | link-then-put | the ids below are lost | M: `put_versus_put` |
//! | new-root | a cleared namespace finds what it had | M: `clear_versus_lookup` |
//! | begin-anew | a lookup finds half a prefix | M: `clear_versus_half_a_prefix` |
//! | keep-old-root | another root lies in the old one's place, and what hangs off it is evicted | M: `clear_versus_its_old_root` |
//! | past-roots | the cache is freed under a hold of a cleared namespace | M: `hold_under_an_old_root_versus_drop_of_the_cache` |
//! | keep-past | an old root is never freed | M: `clear_all_versus_lookup` |
//! | let-go-cleared | the same | M: `forgetting_versus_clear` |
//! | let-go-all | the same | M: `clear_all_versus_publication` |
//! | past-stays | an old root is freed under what hangs off it | M: `forgetting_versus_clear` |
//! | handles-count | a namespace is forgotten that has a handle | M: `forgetting_versus_the_last_handle` |
//! | refuse-first | a call that must refuse takes blocks from one that need not | M: `refusal_versus_allocation`, `refusal_versus_eviction` |
//! | put-back | an id is lost | M: `two_allocations_of_more_than_there_is` |
//! | stand-in | the cache is freed in the middle of the census | M: `fork_versus_drop_of_the_cache` |
//! | count-forks | the cache is freed under a hold | M: `fork_versus_drop_of_the_cache` |
//!
//! # Candidates
//!
//! The hand looks only at *candidates*: the last live block of a run, with nothing hanging off it. A bit
//! for each is kept in a bitmap. Losing one would lose a block for good, so the rule is this: every
//! change that makes a block a candidate is followed by listing it, and whoever unlists a block looks
//! at it again afterwards.
//!
//! * A prefix is published, run by run: the last block of all is listed in the end. Until then the publisher's
//!   pin keeps the last block of each run. The block that a run hangs off is unlisted: it has a child that the
//!   publisher holds.
//! * A block is claimed: the one before it in the run is now the last. The same thread claims or lists it.
//! * A node is unlinked: if its parent has no other child, the same thread claims or lists the parent.
//! * A listed block turns out to have children, or to be cached no more: the hand unlists it, and
//!   looks again.
//!
//! Listing and unlisting are read-modify-writes of one word. If the listing comes second, the bit stays
//! set. If it comes first, the unlisting acquires it, and the second look sees what the lister saw.
//! A bit that is set without reason costs the hand one look. (M: `list_versus_unlist`,
//! `last_child_versus_unlisting`, `tail_versus_last_child`)
//!
//! A block that is held stays a candidate, so that a lookup and its end write to nothing but the block's
//! own word.
//!
//! # The hand
//!
//! It passes held blocks, cools warm ones, and claims cold ones. From a claimed block it **climbs**: to
//! the one before it, and, when the node is empty, to the parent, as long as they too are cold and
//! unheld and more blocks are wanted. Without climbing, a turn of the hand would take one block off
//! every chain, recent ones included; with it, the chain that was used least recently goes first, as
//! under LRU. A hit warms only its last block, and the first child of a block of normal priority cools it:
//! from then on what hangs off it speaks for it. A block of high priority stays warm under its children, so it survives
//! three turns once the last of them has left. (T: `evict`)
//!
//! A sweep that has enough in the middle of a chain notes where, and the next one goes on from there: half
//! a chain is the oldest there is, but its new tail may have an id that the hand has just passed.
//! Measured on the conversation trace (16-token blocks, 64 requests in flight), against exact LRU: without
//! that note the hit ratio is 0.33 points lower on average over five capacities (with runs of 16), with it 0.18
//! higher.
//!
//! `allocate` must not evict in vain, so before the hand moves, a forecast walks over the same
//! candidates and imagines the same climb until it has counted enough. If there is not enough,
//! nothing is touched. That costs as much as the eviction of the blocks counted, and a look at each
//! candidate in the worst case. A forecast that succeeds moves the hand over the words of candidates in which
//! it counted nothing: at most the hand would have unlisted a block there, which can wait.
//!
//! # Reclamation
//!
//! 1. Physical ids are reused at once, whatever other threads are reading (M: `peek_versus_reuse`).
//!    Only the memory of nodes waits for an epoch (M: `reader_in_the_bucket_versus_reclamation`,
//!    `peek_versus_reuse`).
//! 2. A node is reached through the index, through the slots, through a child's parent, or through
//!    a hold. (A)
//! 3. It is retired by the thread that claimed its first block. By then all its blocks are
//!    gone; so no hold is left on it and no child, and none can come: both need a pin, and a pin is
//!    refused. It is unlinked, and the same thread empties those of its slots that another claimer
//!    has not come to yet. (M: `unlink_versus_unlink_of_the_neighbour`, `tail_versus_retirement`)
//! 4. So a thread that pins an epoch from now on cannot reach it, and one that did before keeps it
//!    alive by its guard. A child that such a thread still sees was retired earlier, or not yet:
//!    either way its parent was retired after the guard was taken, and so on up to the root. (A)
//! 5. A hold keeps no guard: it is the count that keeps the node. (M: as invariant 2)
//!
//! An epoch that does not move, because a thread was suspended in the middle of a lookup, holds
//! back node memory, but never a physical block. Where threads outnumber cores that is usual: of
//! those that wait for a core, some thread was nearly always stopped within a pin. So `allocate`
//! and `evict` yield the core before they begin, if their thread has filled a batch of retired
//! nodes since it last did: it then waits outside a pin, and the thread that was stopped within one
//! runs sooner. (Eight threads on two cores then do 0.99 of what two do; without it 0.77, since new
//! nodes come from memory that no processor cache knows. Measured; no test fails without the yield.
//! T, that batches are freed: `retired_bytes_are_shown_and_freed_in_bounded_batches`)
//!
//! # A hold outlives its cache
//!
//! A hold must be cheap, so it has no share in a counter that all holds would write. It need not:
//! the state words count every hold already. Dropping the cache takes a census of them and marks
//! each word *closed* in the same step; from then on, a thread that drops a hold sees the mark and
//! counts down the sum. The census visits the roots of cleared namespaces too. Publishing needs a
//! block, which counts as a reference to the cache, so a closed cache no longer changes shape. (M:
//! `unpin_versus_census`, all of `closing`; under a cleared root:
//! `hold_under_an_old_root_versus_drop_of_the_cache`.) The idea is that of Linux's percpu-refcount:
//! cheap counts while it lives, one exact sum when it goes.
//!
//! # Costs
//!
//! * One live block keeps its whole run in memory: at worst `run_length` times the tokens of what is
//!   cached. On real traces runs leave whole; see `benches/NOTES.md`.
//! * Holds that end at one block all write one word. A prompt that every thread looks up to the
//!   very same end is bounded by that.
//! * Between a claim and the listing of the block above it, that block and what lies before it are
//!   in one thread's hands. A thread suspended there hides them from `allocate`, which may then
//!   refuse; it never waits.
//! * A node leaves up to 56 bytes free, so that its ids start a cache line. Asking for whole nodes makes long
//!   prompts slower that are in the first caches already, and faster where they are not.
//! * The clock approximates LRU. A scan of one-off prompts passes through it as through LRU.
//!
//! # Considered, and not done
//!
//! * *A chained hash for each block, as the key*: 8 bytes and a hash a block, and every lookup hashes
//!   every token. Chaining the keys of nodes gives the same answers.
//! * *A live length in each node*: derivable from the states, and a second word that could disagree.
//! * *A count for each block of a held prefix*, as vLLM has: a lookup would write to every block.
//! * *A queue for free ids*: 16 bytes a block in crossbeam's `ArrayQueue`, and an exchange for
//!   each id; a linked stack takes 4, and one exchange for any number of ids.
//! * *`Arc` in each hold*: one counter that every lookup and every drop writes.
//! * *A lifetime on holds*: an engine could not keep them in its request objects.
