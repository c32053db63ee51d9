//! Servers by number: comparing and copying their names at every step would take most of a run's time.

use super::plan::{POOLS, pool_number};
use ebbtide_core::{PoolView, ServerName, ServerView};
use std::fmt;

/// The names that servers have in any pool: those of the file, then those that operators add,
/// then those that come by a name.
const NAMES: [&str; 16] = [
    "w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "x0", "x1", "n-1", "n-2", "n-3", "n-4", "n-5",
    "n-6",
];
/// Where those that operators add begin.
const ADDED: usize = 8;
/// Where those begin that come by a name.
const NAMED: usize = 10;

/// A server, whether it is there at present or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerNumber(u8);

impl ServerNumber {
    /// The server of the file with this number in its pool.
    pub fn of_file(pool: usize, number: usize) -> Self {
        Self((pool * NAMES.len() + number) as u8)
    }

    /// The server that operators add to a pool, the first or the second.
    pub fn added(pool: usize, number: usize) -> Self {
        Self::of_file(pool, ADDED + number)
    }

    /// The server that comes by the name of a pool: with this number less one.
    pub fn named(pool: usize, number: usize) -> Self {
        Self::of_file(pool, NAMED + number)
    }

    pub fn of(name: &ServerName) -> Self {
        Self::in_pool(pool_number(&name.pool), &name.server)
    }

    pub fn of_view(pool: &PoolView, server: &ServerView) -> Self {
        Self::in_pool(pool_number(&pool.config.name), &server.name)
    }

    /// The server with this name in the pool with this number.
    pub fn in_pool(pool: usize, server: &str) -> Self {
        let number = match server.as_bytes() {
            [b'w', digit @ b'0'..=b'7'] => usize::from(digit - b'0'),
            [b'x', digit @ b'0'..=b'1'] => ADDED + usize::from(digit - b'0'),
            [b'n', b'-', digit @ b'1'..=b'6'] => NAMED + usize::from(digit - b'1'),
            _ => unreachable!("plans and configurations name no other server than {NAMES:?}"),
        };
        Self::of_file(pool, number)
    }

    pub fn name(self) -> ServerName {
        ServerName::new(POOLS[self.pool()], self.server())
    }

    pub fn pool(self) -> usize {
        usize::from(self.0) / NAMES.len()
    }

    /// Its name within the pool.
    pub fn server(self) -> &'static str {
        NAMES[self.in_its_pool()]
    }

    /// Its number within the pool.
    pub fn in_its_pool(self) -> usize {
        usize::from(self.0) % NAMES.len()
    }

    /// Which of those it is that operators add, if it is one.
    pub fn as_added(self) -> Option<usize> {
        let number = self.in_its_pool().checked_sub(ADDED);
        number.filter(|_| !self.is_named())
    }

    /// Whether it comes by a name.
    pub fn is_named(self) -> bool {
        self.in_its_pool() >= NAMED
    }

    /// Whether it is there while the node says so, and not by the file.
    pub fn is_live(self) -> bool {
        self.in_its_pool() >= ADDED
    }

    /// Every server that a pool may have.
    pub fn all_in(pool: usize) -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(move |number| Self::of_file(pool, number))
    }
}

impl fmt::Display for ServerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", POOLS[self.pool()], self.server())
    }
}

impl fmt::Debug for ServerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of servers; of some nothing is.
#[derive(Debug)]
pub(super) struct ByServer<T>(Vec<Option<T>>);

impl<T> Default for ByServer<T> {
    fn default() -> Self {
        let places = POOLS.len() * NAMES.len();
        Self((0..places).map(|_| None).collect())
    }
}

impl<T> ByServer<T> {
    pub fn get(&self, server: ServerNumber) -> Option<&T> {
        self.0[usize::from(server.0)].as_ref()
    }

    pub fn get_mut(&mut self, server: ServerNumber) -> Option<&mut T> {
        self.0[usize::from(server.0)].as_mut()
    }

    pub fn get_or_default(&mut self, server: ServerNumber) -> &mut T
    where
        T: Default,
    {
        self.0[usize::from(server.0)].get_or_insert_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ServerNumber, &T)> {
        numbered(self.0.iter()).filter_map(|(number, known)| Some((number, known.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ServerNumber, &mut T)> {
        numbered(self.0.iter_mut()).filter_map(|(number, known)| Some((number, known.as_mut()?)))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}

fn numbered<T>(places: impl Iterator<Item = T>) -> impl Iterator<Item = (ServerNumber, T)> {
    (0..).map(ServerNumber).zip(places)
}
