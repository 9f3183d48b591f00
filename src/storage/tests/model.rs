//! The log agrees with a list in memory over random operations and restarts.

use super::*;
use crate::storage::Ballot;

#[derive(Default)]
struct Model {
    entries: Vec<LogEntry>,
    purged: Option<LogPosition>,
    ballot: Option<Ballot>,
}

impl Model {
    fn last(&self) -> Option<LogPosition> {
        self.entries.last().map(|entry| entry.position).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    fn agrees(&self, log: &Log, random: &mut Random) {
        assert_eq!((log.last(), log.purged(), log.ballot()), (self.last(), self.purged, self.ballot));
        let end = self.next_index() + 2;
        let from = random.below(end + 1);
        let until = from + random.below(end - from + 2);
        let expected: Vec<_> =
            self.entries.iter().filter(|entry| (from..until).contains(&entry.position.index)).cloned().collect();
        assert_eq!(log.read(from..until, usize::MAX).unwrap(), expected, "entries {from}..{until}");
        let some = log.read(from..until, 200).unwrap();
        assert_eq!(some, expected[..some.len()]);
        assert_eq!(some.is_empty(), expected.is_empty());
    }
}

fn step(log: &Log, model: &mut Model, random: &mut Random, term: u64) -> io::Result<()> {
    match random.below(100) {
        0..75 => {
            let count = random.below(6) + 1;
            let first = model.next_index();
            let entries: Vec<_> = (first..first + count)
                .map(|index| entry(term, index, &vec![index as u8; random.below(200) as usize]))
                .collect();
            model.entries.extend(entries.clone());
            now(|done| log.append_alone(entries, done))
        }
        75..83 => {
            let keep = random.below(model.entries.len() as u64 + 1) as usize;
            let keep = keep.max(model.entries.len().saturating_sub(20));
            model.entries.truncate(keep);
            let last = model.last();
            now(|done| log.truncate_after(last, done))
        }
        83..90 => {
            let ballot = Ballot { term: random.next(), node: random.next(), committed: random.below(2) == 1 };
            model.ballot = Some(ballot);
            now(|done| log.save_ballot(ballot, done))
        }
        90..92 => {
            let upto = at(term, model.next_index() + random.below(100));
            model.entries.clear();
            model.purged = Some(upto);
            now(|done| log.purge(upto, done))
        }
        _ => {
            let gone = random.below(model.entries.len() as u64 + 1) as usize;
            let Some(upto) = model.entries.drain(..gone).next_back().map(|entry| entry.position) else { return Ok(()) };
            model.purged = Some(upto);
            now(|done| log.purge(upto, done))
        }
    }
}

#[test]
fn a_log_on_disk_agrees_with_the_model() {
    for seed in 0..12 {
        let files = MemFiles::default();
        let (mut random, mut model) = (Random(seed), Model::default());
        let options = LogOptions { inline_bytes: (seed % 2) as usize * 500, ..small() };
        let mut log = Log::open(&data_dir(&files).unwrap(), options.clone()).unwrap();
        for number in 0..1500 {
            step(&log, &mut model, &mut random, number).unwrap();
            model.agrees(&log, &mut random);
            if random.below(100) == 0 {
                drop(log);
                log = Log::open(&data_dir(&files).unwrap(), options.clone()).unwrap();
                model.agrees(&log, &mut random);
            }
        }
    }
}

#[test]
fn a_log_in_memory_agrees_with_the_model() {
    let (mut random, mut model, log) = (Random(77), Model::default(), Log::in_memory());
    for number in 0..5000 {
        step(&log, &mut model, &mut random, number).unwrap();
        model.agrees(&log, &mut random);
    }
}
