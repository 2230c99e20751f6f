//! How much of an exchange is held to be read.

/// What is held of an exchange at most, in bytes. What goes beyond is not read; the commitments to the bodies cover it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a body that is no stream: a longer one is not read at all.
    pub body: usize,
    /// Of one event of a stream: a longer one is read by its type alone.
    pub event: usize,
    /// Of the content taken out of a body, text and tool calls together, and of all input messages together: content beyond it
    /// is left out whole, never cut.
    pub content: usize,
}

impl Limits {
    /// None, for exchanges that are held whole anyway.
    pub const NONE: Self = Self { body: usize::MAX, event: usize::MAX, content: usize::MAX };
}

/// The room that is left for content. Once something did not fit, the content is not whole and nothing more is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    left: usize,
    taken: usize,
    is_full: bool,
}

impl Room {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { left: bytes_max, taken: 0, is_full: false }
    }

    /// Adds a piece of text, if there is room.
    pub(super) fn add(&mut self, to: &mut String, piece: &str) {
        if self.is_full || piece.len() > self.left {
            self.is_full = true;
            return;
        }
        self.left -= piece.len();
        self.taken += piece.len();
        to.push_str(piece);
    }

    /// Adds ids of tokens, if there is room.
    pub(super) fn add_ids(&mut self, to: &mut Vec<u32>, ids: &[u32]) {
        let bytes = size_of_val(ids);
        if self.is_full || bytes > self.left {
            self.is_full = true;
            return;
        }
        self.left -= bytes;
        self.taken += bytes;
        to.extend_from_slice(ids);
    }

    /// A piece of text by itself; empty if there is no room.
    pub(super) fn take(&mut self, piece: &str) -> String {
        let mut taken = String::new();
        self.add(&mut taken, piece);
        taken
    }

    /// Makes room again for a piece that is held no more.
    pub(super) const fn give_back(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
        self.taken = self.taken.saturating_sub(bytes);
    }

    /// Whether there is room for one more entry of a list, and takes it: many empty ones are long as well.
    pub(super) fn admits_entry(&mut self) -> bool {
        const ENTRY_BYTES: usize = 64;
        if self.is_full || ENTRY_BYTES > self.left {
            self.is_full = true;
            return false;
        }
        self.left -= ENTRY_BYTES;
        self.taken += ENTRY_BYTES;
        true
    }

    /// Says that something was left out.
    pub(super) const fn close(&mut self) {
        self.is_full = true;
    }

    /// Whether something was left out.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// How many bytes were taken.
    pub(super) const fn taken(&self) -> usize {
        self.taken
    }
}
