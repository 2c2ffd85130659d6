//! The exceptions, which `kvtrie/_errors.py` defines: here they are raised.

use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;

import_exception!(kvtrie._errors, AdoptError);
import_exception!(kvtrie._errors, BuildError);
import_exception!(kvtrie._errors, ChangeFeedError);
import_exception!(kvtrie._errors, ForeignObject);
import_exception!(kvtrie._errors, OutOfBlocks);
import_exception!(kvtrie._errors, OverBudget);
import_exception!(kvtrie._errors, PublishError);
import_exception!(kvtrie._errors, PublisherError);
import_exception!(kvtrie._errors, Released);
import_exception!(kvtrie._errors, TokenError);

/// Finds the exceptions while the package is imported, so that raising one imports nothing.
pub fn prepare(py: Python<'_>) {
    AdoptError::type_object(py);
    BuildError::type_object(py);
    ChangeFeedError::type_object(py);
    ForeignObject::type_object(py);
    OutOfBlocks::type_object(py);
    OverBudget::type_object(py);
    PublishError::type_object(py);
    PublisherError::type_object(py);
    Released::type_object(py);
    TokenError::type_object(py);
}

/// Makes the exception of an allocation that was refused.
pub fn out_of_blocks(refused: kvtrie::OutOfBlocks) -> PyErr {
    OutOfBlocks::new_err((
        refused.to_string(),
        refused.requested,
        refused.free,
        refused.reclaimable,
        refused.held,
        refused.owned,
        refused.suspended,
        refused.capacity,
    ))
}

/// Makes the exception of a prefix that exceeds the pin budget.
pub fn over_budget(refused: kvtrie::OverBudget) -> PyErr {
    OverBudget::new_err((
        refused.to_string(),
        refused.requested,
        refused.pinned,
        refused.budget,
    ))
}

/// Says which setting of a cache is out of range, with the names of this package.
pub fn out_of_range(refused: kvtrie::BuildError) -> String {
    let message = refused.to_string();
    match refused {
        // The crate goes on with the name of its own setting, which has a default there.
        kvtrie::BuildError::Blocks(0) => message.split(':').take(1).collect(),
        _ => message,
    }
}

/// Says why a cache gives no change feed, with the names of this package.
pub fn no_change_feed(refused: kvtrie::ChangeFeedError) -> String {
    use kvtrie::ChangeFeedError::{InUse, NotBuilt};
    match refused {
        NotBuilt => {
            "the cache has no change feed: build it with PrefixCache(change_feed=True)".into()
        }
        InUse => "the change feed has a reader: release it before another is made".into(),
        // The crate has no other kind yet.
        other => other.to_string(),
    }
}

/// Writes out a number with its noun, as one or as many.
pub fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Makes the exception of an object that was used after it was let go.
pub fn released(what: &str) -> PyErr {
    Released::new_err(format!("the {what} was released before"))
}
