//! What users are told in their own windows: [`status`] says how their session stands, [`stream`]
//! says so again whenever that changes, and [`script`] is what a browser shows it with.

pub(crate) mod script;
pub(crate) mod status;
pub(crate) mod stream;
