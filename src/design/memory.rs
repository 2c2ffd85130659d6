//! Memory: how a cleared namespace's blocks are found, and when the memory of nodes is freed.
//!
//! # Clearing
//!
//! A clearing must find the blocks below one root, and should not look at those of others. So each
//! root has a set of **groups** (`trie/groups.rs`): the ids of the cache are divided into 2,048 of
//! them, and a run that is published adds the group of its first block. The clearing visits the
//! slots of these groups. A slot with the first block of a run below the old root leads to the end
//! of the run, from which it evicts and climbs. A run with a child is left to the child's visit,
//! which climbs to it. So one pass finds all that is unheld, in any order of the visits. (M:
//! `clear_versus_append`, `clear_versus_eviction_of_a_chain`; T:
//! `a_clearing_looks_only_where_its_namespace_was_published`, `oracle`)
//!
//! A set only grows, so publication writes to it at most once for each group between two clearings.
//! A namespace that is small but has published in all groups costs a look at all slots. To clear
//! bits would need a count for each group, which every publication and eviction would write to.
//!
//! The roots of cleared namespaces stay in a list while something hangs off them. Each clearing
//! looks at four of them in turn, so it costs the same however many there are, and those that
//! nothing hangs off are at most a third as many as the others, plus four. (T:
//! `a_clearing_looks_at_few_old_roots_and_they_do_not_pile_up`)
//!
//! # Retired nodes
//!
//! A thread frees no node in a lookup, because its caller waits. Retired nodes are collected in
//! batches (`trie/retired.rs`). The collector, which runs in lookups too, only moves an expired
//! batch to a stack, and the threads that allocate or evict free two batches in a call, and two
//! more for each batch that they fill. (T:
//! `retired_bytes_are_shown_and_freed_in_bounded_batches`)
//!
//! A thread that is suspended during a lookup stops the epoch. This delays the release of node
//! memory, but never of a physical block. While more bytes are retired than a cache's limit allows,
//! none of its calls evicts (rule retired-limit). The count is the process's, as the collector is:
//! a node may be freed after its cache. Roots do not count as evictions: a clearing always replaces
//! its root, of about 400 bytes. (T:
//! `evictions_are_suspended_while_a_thread_is_stopped_inside_a_call`)
//!
//! Such a thread is common where threads outnumber cores: among those that wait for a core, one was
//! nearly always stopped while it held a guard. So `allocate` and `evict` yield the core before
//! they begin, if their thread has retired enough nodes since it last did. The thread then waits
//! without a guard, and the stopped thread runs sooner. (With the yield, eight threads on two cores
//! reach 0.97 of the rate of two threads; without it 0.77, because new nodes use memory that is in
//! no processor cache. Measured.)
//!
//! How long a thread waits at a yield depends on how long the others run. So a thread yields after
//! 16 nodes if its last yield gave the core to another thread, and after 60 otherwise. It sees that
//! by the time that the yield took: more than five microseconds. (T:
//! `a_thread_yields_its_core_once_for_each_batch_of_retired_nodes`,
//! `a_thread_that_shares_its_core_yields_more_often`)
