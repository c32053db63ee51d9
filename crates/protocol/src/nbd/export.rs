//! What is known of an export before it is used.

/// The most bytes that one read or write may ask for where nothing else was agreed on, and the most
/// that any peer must be able to take (section "Size constraints").
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 25;

/// Bits of [`Export::flags`] (section "Transmission flags").
pub mod transmission_flag {
    /// Always set.
    pub const HAS_FLAGS: u16 = 1 << 0;
    /// Writes are refused.
    pub const READ_ONLY: u16 = 1 << 1;
    /// `FLUSH` is understood.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// The flag `FUA` is understood.
    pub const SEND_FUA: u16 = 1 << 3;
    /// Better used as a disk that turns.
    pub const ROTATIONAL: u16 = 1 << 4;
    /// `TRIM` is understood.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// `WRITE_ZEROES` is understood.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// The flag `DF` of reads is understood; only with structured replies.
    pub const SEND_DF: u16 = 1 << 7;
    /// What was flushed on one connection is seen on all: a client may use several.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// `CACHE` is understood.
    pub const SEND_CACHE: u16 = 1 << 10;
    /// The flag `FAST_ZERO` is understood.
    pub const SEND_FAST_ZERO: u16 = 1 << 11;
    /// All of the above. Others are of extensions that are not spoken here.
    pub const KNOWN: u16 = HAS_FLAGS
        | READ_ONLY
        | SEND_FLUSH
        | SEND_FUA
        | ROTATIONAL
        | SEND_TRIM
        | SEND_WRITE_ZEROES
        | SEND_DF
        | CAN_MULTI_CONN
        | SEND_CACHE
        | SEND_FAST_ZERO;
}

/// An export as its server describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// In bytes.
    pub size: u64,
    /// What can be done with it: bits of [`transmission_flag`]. Unknown ones are kept as they came.
    pub flags: u16,
    /// How it wants to be used; `None` where it did not say.
    pub block_sizes: Option<BlockSizes>,
}

/// Section "Size constraints", all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths are multiples of it. A power of 2, at most 65,536.
    pub minimum: u32,
    /// Multiples of it are fast. A power of 2, at least 512 and the minimum.
    pub preferred: u32,
    /// The longest read or write; at least the preferred size.
    pub payload_max: u32,
}

impl Export {
    /// Are all of these flags set?
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// The most bytes that one read or write may ask for.
    pub fn payload_bytes_max(&self) -> u32 {
        self.block_sizes
            .map_or(PAYLOAD_BYTES_MAX, |sizes| sizes.payload_max)
    }

    /// Whether an offset or a length is on the border of a smallest block.
    pub fn is_aligned(&self, position: u64) -> bool {
        self.block_sizes
            .is_none_or(|sizes| position & (u64::from(sizes.minimum) - 1) == 0)
    }
}

impl BlockSizes {
    /// Whether they are what the section says that they must be.
    pub fn are_valid(&self) -> bool {
        self.minimum.is_power_of_two()
            && self.minimum <= 1 << 16
            && self.preferred.is_power_of_two()
            && self.preferred >= self.minimum.max(512)
            && self.payload_max >= self.preferred
    }
}
