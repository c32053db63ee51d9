//! How often something came to which outcome, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by name and outcome. Names are those of the configuration, so there are few.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(String, &'static str), u64>>);

impl Tally {
    pub fn count(&self, name: &str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((name.to_owned(), outcome)).or_default() += 1;
    }

    pub fn read(&self) -> BTreeMap<(String, &'static str), u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
