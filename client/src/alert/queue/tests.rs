use counterfoil_receipt::{Timestamp, audit::Class};

use super::*;

fn alert(number: u64) -> Alert {
    Alert {
        event: Event::Finding,
        id: Hash::of(&[&number.to_be_bytes()]),
        log: "log.example".to_owned(),
        class: Class::Match,
        code: "watch-match".to_owned(),
        place: format!("entry {number}"),
        rule: Some("r".to_owned()),
        message: "x".repeat(usize::try_from(number % 40).unwrap()),
        at: Timestamp::from_millis(number).unwrap(),
        since: None,
    }
}

fn open(directory: &Path) -> Result<(Queue, Vec<Alert>), QueueError> {
    let mut found = Vec::new();
    let queue = Queue::open(directory, QUEUE_BYTES_MIN, |_, alert| found.push(alert.clone()))?;
    Ok((queue, found))
}

fn push(queue: &mut Queue, numbers: Range<u64>) {
    queue.append(&numbers.map(alert).collect::<Vec<_>>(), Vec::new).unwrap();
}

fn all(queue: &Queue) -> Vec<Alert> {
    queue.numbers().map(|number| queue.alert(number).unwrap()).collect()
}

/// Wherever a crash stops a write, what was acknowledged before it is there, in order, and the queue goes on.
#[test]
fn nothing_acknowledged_is_lost_at_any_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(directory.path()).unwrap();
    // How long the file was when each append was acknowledged, and how many alerts it had.
    let mut acknowledged = vec![(queue.bytes(), 0)];
    for (start, end) in [(0, 1), (1, 3), (3, 4)] {
        push(&mut queue, start..end);
        acknowledged.push((queue.bytes(), end));
    }
    let path = queue.newest().path().to_owned();
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, queue.bytes());
    let head = acknowledged[0].0;
    for length in head..=whole.len() as u64 {
        fs::write(&path, &whole[..usize::try_from(length).unwrap()]).unwrap();
        let (mut queue, found) = open(directory.path()).unwrap();
        let kept = found.len() as u64;
        let promised = acknowledged.iter().rfind(|(bytes, _)| *bytes <= length).unwrap().1;
        assert!(kept >= promised, "cut at {length}: {kept} of {promised}");
        assert_eq!(found, (0..kept).map(alert).collect::<Vec<_>>(), "cut at {length}");
        push(&mut queue, 100..102);
        let (queue, found) = open(directory.path()).unwrap();
        assert_eq!(found.len() as u64, kept + 2, "cut at {length}");
        assert_eq!(all(&queue), found);
        assert!((0..kept).all(|number| queue.has(alert(number).id)) && !queue.has(alert(kept).id));
    }
    for length in 0..head {
        fs::write(&path, &whole[..usize::try_from(length).unwrap()]).unwrap();
        assert!(
            matches!(open(directory.path()), Err(QueueError::Damaged { offset: 0, .. })),
            "cut at {length}"
        );
    }
}

/// Any changed bit in a whole line is damage, and its line is named.
#[test]
fn damage_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(directory.path()).unwrap();
    let head = queue.bytes();
    push(&mut queue, 0..2);
    let path = queue.newest().path().to_owned();
    let whole = fs::read(&path).unwrap();
    let second = {
        let newlines: Vec<_> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').collect();
        newlines[1].0 as u64 + 1
    };
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[place] ^= 1 << bit;
            fs::write(&path, &changed).unwrap();
            let named = match open(directory.path()) {
                Err(QueueError::Damaged { offset, .. }) => offset,
                // The newline at the very end: then the last line is one that was never finished.
                Ok((_, found)) if place + 1 == whole.len() => {
                    assert_eq!(found, [alert(0)]);
                    continue;
                }
                other => panic!("byte {place} bit {bit}: {other:?}"),
            };
            let expected = [0, head, second].into_iter().rfind(|start| *start <= place as u64).unwrap();
            assert_eq!(named, expected, "byte {place} bit {bit}");
        }
    }
}

/// The queue keeps to its space: the oldest files go, and only when its owner drops them.
#[test]
fn space_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(directory.path()).unwrap();
    let mut next = 0;
    let mut dropped = 0;
    while dropped < 10_000 {
        while let Some(oldest) = queue.must_drop() {
            assert_eq!(oldest.start, dropped);
            dropped = oldest.end;
            queue.drop_oldest().unwrap();
        }
        push(&mut queue, next..next + 100);
        next += 100;
        assert!(queue.bytes() <= QUEUE_BYTES_MIN, "{}", queue.bytes());
    }
    assert_eq!(queue.numbers(), dropped..next);
    assert!(!queue.has(alert(dropped - 1).id) && queue.has(alert(dropped).id));
    let (again, found) = open(directory.path()).unwrap();
    assert_eq!(again.numbers(), dropped..next);
    assert_eq!(found, (dropped..next).map(alert).collect::<Vec<_>>());
    assert!(!again.has(alert(dropped - 1).id) && again.has(alert(dropped).id));
    // A file in the middle that is gone, and one that is not its own.
    let paths = files(directory.path()).unwrap();
    let bytes = fs::read(&paths[2]).unwrap();
    fs::remove_file(&paths[2]).unwrap();
    assert!(matches!(open(directory.path()), Err(QueueError::Damaged { path, .. }) if path == paths[3]));
    fs::write(&paths[2], fs::read(&paths[1]).unwrap()).unwrap();
    assert!(matches!(open(directory.path()), Err(QueueError::Damaged { path, .. }) if path == paths[2]));
    fs::write(&paths[2], &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(open(directory.path()), Err(QueueError::Damaged { path, .. }) if path == paths[2]));
    fs::write(&paths[2], bytes).unwrap();
    assert!(open(directory.path()).is_ok());
}

/// What lasts is carried into the next file, so that it is known when the file in which it began is gone.
#[test]
fn what_lasts_is_carried_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut queue, _) = open(directory.path()).unwrap();
    let lasting = Alert { since: Timestamp::from_millis(5), ..alert(7) };
    let mut next = 0;
    while queue.numbers().start == 0 {
        if queue.must_drop().is_some() {
            queue.drop_oldest().unwrap();
        }
        let alerts: Vec<_> = (next..next + 100).map(alert).collect();
        queue.append(&alerts, || vec![lasting.clone()]).unwrap();
        next += 100;
    }
    let mut first = None;
    Queue::open(directory.path(), QUEUE_BYTES_MIN, |number, alert| {
        first.get_or_insert_with(|| (number, alert.clone()));
    })
    .unwrap();
    assert_eq!(first, Some((None, lasting)));
}
