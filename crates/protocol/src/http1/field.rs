//! Which fields mean something to a proxy.

/// What a field means here, found once while parsing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldKind {
    Other,
}
