//! The loader's promises: order, determinism, errors in their place, bounded memory, clean stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use robustify_data::{DataError, Job, Loader, epoch_order};
use robustify_rng::Key;

/// An item that takes an uneven time, so that workers overtake each other.
fn uneven(item: usize, position: usize) -> Result<(usize, usize, u64), DataError> {
    let mut stream = Key::new(1, "uneven").with(item as u64).stream();
    std::thread::sleep(Duration::from_micros(u64::from(stream.below(300))));
    Ok((item, position, stream.bits64()))
}

#[test]
fn workers_and_batch_size_change_nothing() {
    let order = epoch_order(103, 7, 2);
    let run = |workers, batch_size| {
        let loader = Loader::new(order.clone(), batch_size, workers, Arc::new(uneven)).unwrap();
        let batches: Vec<_> = loader.map(Result::unwrap).collect();
        assert!(batches.iter().rev().skip(1).all(|batch| batch.len() == batch_size));
        batches.concat()
    };
    let alone = run(0, 1);
    assert_eq!(alone.iter().map(|(item, _, _)| *item).collect::<Vec<_>>(), order);
    assert!(alone.iter().enumerate().all(|(at, (_, position, _))| at == *position));
    for (workers, batch_size) in [(1, 8), (2, 8), (5, 8), (5, 103), (2, 1), (3, 500)] {
        assert_eq!(run(workers, batch_size), alone, "{workers} workers, batches of {batch_size}");
    }
}

#[test]
fn errors_and_panics_come_in_their_place() {
    let job: Job<usize> = Arc::new(|item, _| match item {
        4 => Err(DataError::Argument { name: "item", expected: "another".into(), found: "four".into() }),
        9 => std::panic::resume_unwind(Box::new("nine".to_owned())),
        _ => Ok(item),
    });
    for workers in [0, 1, 3] {
        let batches: Vec<_> = Loader::new((0..12).collect(), 3, workers, Arc::clone(&job)).unwrap().collect();
        assert_eq!(batches.len(), 4);
        assert_eq!(batches[0].as_ref().unwrap(), &[0, 1, 2]);
        assert!(batches[1].as_ref().unwrap_err().to_string().contains("four"));
        assert_eq!(batches[2].as_ref().unwrap(), &[6, 7, 8]);
        let error = batches[3].as_ref().unwrap_err().to_string();
        assert!(error.contains("item 9") && error.contains("nine"), "{error}");
    }
    assert!(Loader::new(vec![1], 0, 1, job).is_err());
}

#[test]
fn no_more_than_the_window_is_prepared_ahead_and_dropping_stops() {
    let (prepared, running) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
    let (count, alive) = (Arc::clone(&prepared), Arc::clone(&running));
    let job: Job<usize> = Arc::new(move |item, _| {
        let _alive = &alive;
        count.fetch_add(1, Ordering::SeqCst);
        Ok(item)
    });
    let mut loader = Loader::new((0..100_000).collect(), 4, 2, job).unwrap();
    assert_eq!(loader.next().unwrap().unwrap(), [0, 1, 2, 3]);
    assert_eq!(loader.len(), 24_999);
    // Four consumed, and a window of four batches: twenty, however long the consumer takes.
    let deadline = Instant::now() + Duration::from_secs(20);
    while prepared.load(Ordering::SeqCst) < 20 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(prepared.load(Ordering::SeqCst), 20);
    drop(loader);
    assert_eq!(Arc::strong_count(&running), 1, "a worker still holds the job");
    assert_eq!(prepared.load(Ordering::SeqCst), 20);
}

#[test]
fn waiting_is_counted() {
    let slow: Job<()> = Arc::new(|_, _| {
        std::thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    for workers in [0, 1] {
        let mut loader = Loader::new((0..8).collect(), 2, workers, Arc::clone(&slow)).unwrap();
        while loader.next().is_some() {}
        assert!(loader.waited() >= Duration::from_millis(30), "{workers}: {:?}", loader.waited());
        assert!(loader.waited() <= loader.elapsed() && loader.wait_share() > 0.5);
    }
    let mut fast = Loader::new((0..4).collect(), 1, 1, Arc::new(|item, _| Ok(item))).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    while fast.next().is_some() {}
    assert!(fast.wait_share() < 0.5, "{}", fast.wait_share());
}

#[test]
fn epoch_orders_are_permutations_by_seed_and_epoch() {
    let order = epoch_order(50, 1, 3);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    assert_eq!(order, epoch_order(50, 1, 3));
    assert_ne!(order, epoch_order(50, 1, 4));
    assert_ne!(order, epoch_order(50, 2, 3));
}
