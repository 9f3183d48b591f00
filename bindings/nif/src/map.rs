//! Map: maps from entries in which a key may occur more than once.

use crate::env::{Env, Term, is_identical};

/// Entries of a map that are gathered without the heap.
const SMALL: usize = 32;

/// The map of the entries (key, value, key, value, ...) at the end of `terms`, beginning at `from`. Of entries with the
/// same key the last counts. May leave more terms there; the caller truncates.
pub(crate) fn of_entries(env: Env, terms: &mut Vec<Term>, from: usize) -> Option<Term> {
    let count = (terms.len() - from) / 2;
    if count <= SMALL {
        let (mut keys, mut values) = ([Term::default(); SMALL], [Term::default(); SMALL]);
        for (place, entry) in terms[from..].chunks_exact(2).enumerate() {
            keys[place] = entry[0];
            values[place] = entry[1];
        }
        let (keys, values) = (&keys[..count], &values[..count]);
        return env.make_map(keys, values).or_else(|| of_last(env, keys, values));
    }
    let keys_from = terms.len();
    terms.reserve(2 * count);
    for part in [0, 1] {
        for place in 0..count {
            terms.push(terms[from + 2 * place + part]);
        }
    }
    let (keys, values) = terms[keys_from..].split_at(count);
    env.make_map(keys, values).or_else(|| of_last(env, keys, values))
}

/// The map of these entries, some of which have the same key.
fn of_last(env: Env, keys: &[Term], values: &[Term]) -> Option<Term> {
    let mut places: Vec<(u64, usize)> = keys.iter().enumerate().map(|(place, key)| (env.hash(*key), place)).collect();
    places.sort_unstable_by(|a, b| b.cmp(a));
    // Places of equal hash lie together now, the last entry first.
    let (mut last_keys, mut last_values) = (Vec::new(), Vec::new());
    let mut group = 0;
    for (index, (hash, place)) in places.iter().enumerate() {
        if index == 0 || places[index - 1].0 != *hash {
            group = last_keys.len();
        }
        let key = keys[*place];
        if !last_keys[group..].iter().any(|other| is_identical(*other, key)) {
            last_keys.push(key);
            last_values.push(values[*place]);
        }
    }
    env.make_map(&last_keys, &last_values)
}
