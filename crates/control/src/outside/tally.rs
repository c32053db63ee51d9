//! How often something came to which outcome, for `/metrics`.

use ebbtide_core::ServerName;
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

/// How much was read of each server's copies, in bytes. Servers are those of the configuration.
#[derive(Debug, Default)]
pub(crate) struct BytesRead(Mutex<BTreeMap<ServerName, u64>>);

impl BytesRead {
    pub fn add(&self, server: &ServerName, bytes: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(server) {
            Some(count) => *count += bytes,
            None => drop(counts.insert(server.clone(), bytes)),
        }
    }

    pub fn of(&self, server: &ServerName) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(server).copied().unwrap_or_default()
    }
}
