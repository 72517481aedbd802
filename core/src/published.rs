//! What checks read now: one pointer, swapped by Python, read by all threads.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use crate::check::Tables;

/// What checks read now: replaced by one pointer swap, read without waiting.
#[derive(Default)]
pub struct Published {
    tables: ArcSwapOption<Tables>,
    retired: Mutex<Vec<Arc<Tables>>>,
}

impl Published {
    /// Nothing until it is published.
    pub const fn new() -> Self {
        Self { tables: ArcSwapOption::const_empty(), retired: Mutex::new(Vec::new()) }
    }

    /// What is published now: None until something is. Hold it for one request, one batch, or what was read at once.
    pub fn load(&self) -> Guard<Option<Arc<Tables>>> {
        self.tables.load()
    }

    /// Replaces what checks read.
    ///
    /// What was read before is freed here or at the next call, when no reader holds it any more: never
    /// by a reader, since what it holds is Python's to free.
    pub fn publish(&self, tables: Tables) {
        let old = self.tables.swap(Some(Arc::new(tables)));
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.extend(old);
        retired.retain(|tables| Arc::strong_count(tables) > 1);
    }

    /// Frees what no reader holds any more; returns how many are still held.
    pub fn free_retired(&self) -> usize {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|tables| Arc::strong_count(tables) > 1);
        retired.len()
    }
}
