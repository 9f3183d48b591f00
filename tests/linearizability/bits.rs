//! Bits: a set of small numbers.

/// A set of numbers below the size it was made with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// The empty set of numbers below `size`.
    pub fn new(size: usize) -> Bits {
        Bits(vec![0; size.div_ceil(64)])
    }

    pub fn contains(&self, n: usize) -> bool {
        self.0[n / 64] & (1 << (n % 64)) != 0
    }

    pub fn insert(&mut self, n: usize) {
        self.0[n / 64] |= 1 << (n % 64);
    }

    pub fn remove(&mut self, n: usize) {
        self.0[n / 64] &= !(1 << (n % 64));
    }

    pub fn is_subset(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// The words from the one that holds `n` up to the last that is not empty.
    pub fn words_from(&self, n: usize) -> Box<[u64]> {
        let words = self.0.get(n / 64..).unwrap_or_default();
        let end = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        words[..end].into()
    }
}
