//! The edges between threads and the rules that are easily forgotten, each with what fails without
//! it. `ci/weaken.sh` breaks them one at a time.
//!
//! # Edges
//!
//! Every pair of orderings that the code depends on has a name. Both ends carry it, so that `grep
//! '(publish)'` shows the whole edge. Each entry says from which release to which acquire the edge
//! goes, what it ensures, and what fails without it.
//!
//! * **publish**, from `Index::publish` to `Index::find`, `publish`, `unlink`: a node is fully
//!   written before it is found, and so are its blocks' keys and values. (M: `publish_versus_find`,
//!   `publish_versus_find_of_an_image`, `publish_versus_publish`, `unlink_versus_publish`)
//! * **append**, from `State::fill` to `State::load_slot`: a slot is fully written before it is
//!   found, and so are its block's keys and values. (M: `fill_versus_load_slot`)
//! * **filled**, from `NodeRef::set_filled` to `NodeRef::filled`: a slot is fully written before a
//!   thread reads it without looking at its word. (M: `fill_versus_filled`)
//! * **let-go**, from `State::release`, `unpin` to `State::claim`, `claim_root`, `close`: a
//!   holder's reads come before the block is reused. (M: `pin_versus_claim`,
//!   `first_release_versus_claim`, `unpin_versus_claim_of_the_root`, `unpin_versus_count_of_holds`)
//! * **orphan**, from `State::drop_child` to `State::claim`, `claim_root`: a node is unlinked
//!   before its parent is claimed. (M: `holder_of_the_child_versus_claim_of_the_parent`,
//!   `last_child_versus_claim_of_the_root`)
//! * **run-order**, from `State::claim` to `State::is_evicted_acquire`: a holder's reads of a run
//!   come before any block of it is reused, whichever thread claims it. (M:
//!   `holder_of_the_tail_versus_claim_of_the_head`)
//! * **last-child**, from `State::confirm_children` to `State::drop_child`: if two threads remove
//!   the rest of a run and the last child, the second one knows that it is second. (M:
//!   `tail_versus_last_child`, `eviction_of_a_tail_versus_last_child`)
//! * **slot**, from `Clock::insert`, `insert_one` to `Clock::position`, `positions`: a node is
//!   fully written before the hand reaches it. (M: `insert_versus_visit`,
//!   `insert_one_versus_visit`)
//! * **list**, from `Clock::list` to `Clock::unlist`: no candidate is lost. (M:
//!   `list_versus_unlist`)
//! * **listed**, from `State::release` to `State::load_listed`: a thread that leaves the listing of
//!   its block to an earlier release finds it done. (M: `release_versus_release`,
//!   `release_versus_hold_and_release`)
//! * **free**, from `Pool::put` to `Pool::take`, `put`, `free`: the last owner's accesses to a
//!   block come before the next owner's, and the height of an id is written before it is read. (M:
//!   `take_versus_put`, `put_versus_put`, `put_versus_count`)
//! * **gauge**, from `Gauge::push` to `Gauge::take`: the gauge finds the slot of a queued block
//!   filled. (M: `push_versus_take`)
//! * **followed**, from `State::follow` to `State::unqueue`: the gauge finds the block that was
//!   appended behind one that is no longer pinned. (M: `append_versus_count`)
//! * **lend**, from `Lent::insert` to `Lent::remove`: the accesses to a block before its id was
//!   lent come before those of the next owner. (M: `lend_versus_adopt`)
//! * **expired**, from `Expired::push` to `Expired::take_all`: the readers of a retired node are
//!   done before another thread frees it. (M: `expiry_versus_freeing`, `freeing_versus_freeing`)
//! * **clear**, from `Registry::renew` to `Space::root`: a root is fully written before it is read.
//!   (M: `clear_versus_lookup`)
//! * **clear-race**, from the fence in `guard::enter` to the fence in `Space::still_has`: a lookup
//!   that saw a clearing evict a part of a prefix also sees the new root. (M:
//!   `clear_versus_half_a_prefix`, `clear_all_versus_half_a_prefix`)
//! * **last-reference**, from `References::remove` to `remove`: all threads are done with the cache
//!   before it is closed or freed. (M: `hold_versus_hold_of_a_closed_cache`,
//!   `hold_versus_count_of_the_holds`, `publication_versus_drop_of_the_cache`)
//! * **mark**, from the fence in `Marks::mark`, the exchange in `mark_all` to the fence in
//!   `Marks::take`: a change is reported in the end. (M: `mark_versus_poll`, `marks_versus_poll`,
//!   `clear_mark_versus_poll`)
//! * **reader**, from `Marks::stop_reading` to `start_reading`: the nodes that one reader has
//!   numbered have their numbers for the next. (M: `reader_versus_reader`)
//! * **outermost-pin**, from the fence in `guard::enter` to the same fence: of two threads that
//!   publish and then look, one finds the other's node. (M: `publishers_do_not_miss_each_other`)
//!
//! The last edge is the trap in this design. With acquire and release alone, two threads may each
//! publish a block and then each miss the other's, in two buckets. crossbeam-epoch's `pin` contains
//! the sequentially consistent fence that prevents this, but only for the outermost guard of a
//! thread. So the crate has its own collector, and never runs foreign code while it holds a guard.
//!
//! # Rules
//!
//! Each step that is easily forgotten has a name too. The statements that implement it carry it.
//! Each entry says what goes wrong without the step, and what fails then.
//!
//! * **refused-pin**: a lookup holds a block that has left. (M: `pin_versus_claim`,
//!   `lookup_versus_eviction`, `end_of_request_versus_lookup`)
//! * **pin-to-child**: a parent is claimed between the removal of the pin and the addition of the
//!   child. (M: `hand_over_versus_claim`, `end_of_request_versus_publication`)
//! * **pin-then-let-go**: a truncated sequence holds a block that has left. (M:
//!   `truncate_versus_claim_within_its_run`, `truncate_versus_claim_of_the_parent`)
//! * **guard-then-let-go**: an ended request walks over a freed node. (M:
//!   `end_of_request_versus_eviction`)
//! * **pass-evicted**: an ended request leaves blocks that no thread needs. (M:
//!   `end_of_request_versus_eviction_of_its_end`)
//! * **no-resume**: the prefix that an ended request keeps is evicted before prefixes that were
//!   used less recently. (T: `the_kept_prefix_is_not_evicted_next`)
//! * **claim-by-exchange**: two threads claim one block, or one claims a block that was just
//!   pinned. (M: `claim_versus_claim`; T: `every_history_has_an_explanation`)
//! * **claim-again**: an unheld block stays, though no thread has pinned it. (M:
//!   `claim_versus_unqueue`)
//! * **confirm-children**: no thread lists a block that has lost the rest of its run and its
//!   children. (M: `tail_versus_last_child`, `eviction_of_a_tail_versus_last_child`)
//! * **mark-and-count**: a hold is dropped uncounted, and the cache is never freed. (M:
//!   `unpin_versus_count_of_holds`)
//! * **search-again**: two equal nodes are published. (M: `publish_versus_publish`; T:
//!   `every_history_has_an_explanation`)
//! * **mark-first**: a node is linked behind a leaving one, or an evicted one stays linked. (M:
//!   `unlink_versus_unlink_of_the_neighbour`)
//! * **walk-again**: a node is retired while it is linked. (M:
//!   `unlink_versus_unlink_of_the_neighbour`)
//! * **compare-items**: a request finds the blocks of another image. (M:
//!   `publish_versus_publish_of_another_image`)
//! * **cut-at-items**: a block with items lies inside a run, where no search looks for it. (T:
//!   `equal_tokens_match_up_to_the_first_block_with_other_items`)
//! * **skip-gone**: an evicted node hides the node that replaced it. (M: `lookup_versus_eviction`)
//! * **look-first**: the pin count of an evicted block grows without bound. (M:
//!   `lookups_versus_claim_of_the_tail`)
//! * **last-first**: a block is cached, and the one before it is not. (M: `follow_versus_claim`)
//! * **one-writer**: two threads write one slot. (M: `reserve_versus_reserve`)
//! * **fill-by-exchange**: a slot that was shut gets a block. (M: `reserve_versus_reserve`)
//! * **shut-first**: a block is cached in a slot and in a child. (M:
//!   `append_versus_append_of_the_same`)
//! * **later-first**: a lookup finds a part of a prefix that was appended at once. (M:
//!   `append_versus_lookup`)
//! * **look-beyond**: a block is cached in a slot and in a child. (M:
//!   `append_versus_append_of_the_same`)
//! * **pin-to-follower**: a block is claimed between the removal of the pin and the mark. (M:
//!   `follow_versus_claim`)
//! * **unlink-then-uncount**: a parent is claimed while a search can find its child. (A: the
//!   child's first block is gone before the parent's count decreases, so every search skips the
//!   child, and a thread follows its link to the parent only under a guard older than the
//!   retirement of the parent)
//! * **unlink-then-retire**: a search reads a freed node. (M:
//!   `reader_in_the_bucket_versus_reclamation`)
//! * **wait-for-epoch**: a search reads a freed node. (M:
//!   `reader_in_the_bucket_versus_reclamation`)
//! * **no-slot-left**: the hand reads a freed node. (M: `tail_versus_retirement`)
//! * **empty-then-give**: the slot of an id's next owner is emptied. (M:
//!   `end_of_request_versus_reuse`)
//! * **own-entry**: the slot of an id's next owner is emptied. (M: `remove_versus_insert_anew`)
//! * **second-look**: a candidate is lost. (M: `list_versus_unlist`, `last_child_versus_unlisting`)
//! * **list-the-last**: a candidate is lost. (M: `list_versus_unlist`; T:
//!   `agrees_with_a_naive_cache`)
//! * **slot-at-release**: a candidate is lost. (M: `first_release_versus_publication`)
//! * **list-at-release**: a candidate is lost. (M: `release_versus_release`; T:
//!   `agrees_with_a_naive_cache`)
//! * **new-tag**: an id is on the stack twice. (M: `take_versus_the_same_top_again`)
//! * **link-then-put**: the ids below are lost. (M: `put_versus_put`)
//! * **new-root**: lookups in a cleared namespace find its old blocks. (M: `clear_versus_lookup`)
//! * **number-first**: a hold that was just found is called stale. (M: `clear_versus_generation`)
//! * **begin-anew**: a lookup finds half a prefix. (M: `clear_versus_half_a_prefix`)
//! * **seed-alone**: caches with one seed evict other blocks in other processes. (T:
//!   `caches_of_other_processes_do_the_same`)
//! * **seeded-order**: caches with one seed evict other blocks after `clear_all`. (T:
//!   `caches_with_one_seed_that_see_the_same_calls_do_the_same`)
//! * **keep-old-root**: another root is allocated at the address of the old one, and its blocks are
//!   evicted. (M: `clear_versus_its_old_root`)
//! * **past-roots**: the cache is freed under a hold of a cleared namespace. (M:
//!   `hold_under_an_old_root_versus_drop_of_the_cache`)
//! * **keep-past**: an old root is never freed. (M: `clear_all_versus_lookup`)
//! * **let-go-cleared**: an old root is never freed. (M: `forgetting_versus_clear`)
//! * **let-go-all**: an old root is never freed. (M: `clear_all_versus_publication`)
//! * **past-stays**: an old root is freed while it has holds or children. (M:
//!   `forgetting_versus_clear`)
//! * **handles-count**: a namespace with a handle is swept. (M:
//!   `forgetting_versus_the_last_handle`)
//! * **note-group**: a clearing does not find a run. (M: `clear_versus_half_a_prefix`)
//! * **retired-limit**: memory runs out while a thread is stopped inside a call. (T:
//!   `evictions_are_suspended_while_a_thread_is_stopped_inside_a_call`)
//! * **refuse-first**: a call that will be refused takes blocks from one that would succeed. (M:
//!   `refusal_versus_allocation`, `refusal_versus_eviction`)
//! * **put-back**: an id is lost. (M: `two_allocations_of_more_than_there_is`)
//! * **stand-in**: the cache is freed while `count_holds` runs. (M:
//!   `fork_versus_drop_of_the_cache`)
//! * **count-forks**: the cache is freed under a hold. (M: `fork_versus_drop_of_the_cache`)
//! * **queue-found**: a held block is not counted. (M: `lookup_versus_count`; T:
//!   `agrees_with_a_naive_cache`)
//! * **queue-published**: a held block is not counted. (M: `publication_versus_count`; T:
//!   `agrees_with_a_naive_cache`)
//! * **queue-behind**: a held block is not counted. (M: `append_versus_count`; T:
//!   `agrees_with_a_naive_cache`)
//! * **queue-truncated**: a held block is not counted. (T: `agrees_with_a_naive_cache`)
//! * **unqueue-unpinned**: a held block is not counted. (M: `hold_anew_versus_count`)
//! * **slot-first**: a held block is not counted. (M: `lookup_versus_publication_of_its_run`)
//! * **slot-behind**: a held block is not counted. (M: `append_of_two_versus_two_counts`)
//! * **look-anew**: a block is counted twice. (T:
//!   `an_end_in_a_node_at_a_used_address_is_counted_once`)
//! * **one-adopter**: two threads adopt one id. (M: `lend_versus_adopt`)
//! * **keep-marks**: a removal is never reported. (M: `two_clear_marks_versus_poll`)
//! * **insert-then-mark**: a stored block is never reported. (M: `publication_versus_poll`)
//! * **remove-then-mark**: a removal is never reported. (M: `eviction_versus_poll`)
//! * **mark-cleared**: the blocks that a hold keeps under a replaced root are never removed. (M:
//!   `clear_versus_poll`)
//! * **mark-all-cleared**: the same, after `clear_all`. (T:
//!   `clearing_everything_removes_what_live_holds_keep`)
//! * **past-is-empty**: the blocks that a hold keeps under a replaced root are never removed. (M:
//!   `clear_versus_poll`; T: `clearing_one_namespace_removes_what_live_holds_keep`)
//! * **own-number**: a block that replaced another one, in a node at the same address, is never
//!   reported. (T: `a_block_in_a_node_at_a_used_address_is_another`)
//! * **parent-first**: a block is reported behind a prefix that was not. (M:
//!   `child_before_its_parent_versus_poll`)
//! * **children-first**: a prefix is removed before a longer one. (M:
//!   `second_eviction_versus_poll`)
//! * **put-off-again**: a stored block is never reported. (M:
//!   `child_before_its_parent_versus_poll`)
