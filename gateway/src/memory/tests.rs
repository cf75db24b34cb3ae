use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Reserve(usize, bool),
    Charge(usize),
    Follow(prop::sample::Index, usize),
    Shrink(prop::sample::Index, usize),
    Cover(prop::sample::Index, usize),
    Hold(prop::sample::Index),
    Drop(prop::sample::Index),
    DropBuffer(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![0..STEP, 0..200_000_usize];
    let which = any::<prop::sample::Index>;
    prop_oneof![
        (bytes(), any::<bool>()).prop_map(|(bytes, live)| Step::Reserve(bytes, live)),
        bytes().prop_map(Step::Charge),
        (which(), bytes()).prop_map(|(which, bytes)| Step::Follow(which, bytes)),
        (which(), bytes()).prop_map(|(which, bytes)| Step::Shrink(which, bytes)),
        (which(), bytes()).prop_map(|(which, bytes)| Step::Cover(which, bytes)),
        which().prop_map(Step::Hold),
        which().prop_map(Step::Drop),
        which().prop_map(Step::DropBuffer),
    ]
}

proptest! {
    /// For any operations in any order: the used bytes are the sum of the reservations, no reservation exceeds
    /// its ceiling, and nothing is left after all are dropped.
    #[test]
    fn used_bytes_equal_the_reservations(limit in 0..400_000_usize, steps in prop::collection::vec(step(), 0..80)) {
        let budget = Budget::new(limit);
        let (mut held, mut buffers): (Vec<Reservation>, Vec<(usize, Bytes)>) = Default::default();
        for step in steps {
            let before = budget.used();
            match step {
                Step::Reserve(bytes, live) => {
                    let purpose = if live { Purpose::Live } else { Purpose::Replay };
                    let granted = budget.try_reserve(bytes, purpose);
                    prop_assert_eq!(granted.is_ok(), before + bytes <= budget.ceiling(purpose));
                    held.extend(granted);
                }
                Step::Charge(bytes) => held.push(budget.charge(bytes)),
                Step::Follow(which, bytes) if !held.is_empty() => {
                    let which = which.index(held.len());
                    match held[which].try_follow(bytes) {
                        Ok(()) => prop_assert!(held[which].bytes() + FREE >= bytes),
                        Err(Exhausted) => prop_assert_eq!(budget.used(), before),
                    }
                }
                Step::Shrink(which, bytes) if !held.is_empty() => {
                    let which = which.index(held.len());
                    held[which].shrink(bytes);
                    prop_assert!(held[which].bytes() <= bytes);
                }
                Step::Cover(which, bytes) if !held.is_empty() => {
                    let which = which.index(held.len());
                    held[which].cover(bytes);
                    prop_assert_eq!(held[which].bytes(), bytes);
                }
                Step::Hold(which) if !held.is_empty() => {
                    let reservation = held.swap_remove(which.index(held.len()));
                    let bytes = reservation.bytes();
                    let buffer = reservation.hold(vec![7; 10]);
                    buffers.push((bytes, buffer.slice(3..5)));
                }
                Step::Drop(which) if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                Step::DropBuffer(which) if !buffers.is_empty() => {
                    drop(buffers.swap_remove(which.index(buffers.len())));
                }
                _ => {}
            }
            let all = held.iter().map(Reservation::bytes).sum::<usize>()
                + buffers.iter().map(|(bytes, _)| bytes).sum::<usize>();
            prop_assert_eq!(budget.used(), all);
        }
        drop((held, buffers));
        prop_assert_eq!((budget.used(), budget.pressure()), (0, Pressure::Low));
    }
}

#[test]
fn concurrent_threads_neither_exceed_nor_leak_the_budget() {
    let budget = Budget::new(100_000);
    std::thread::scope(|scope| {
        for seed in 1..=4_usize {
            let budget = budget.clone();
            scope.spawn(move || {
                let mut held = budget.nothing();
                for round in 0..20_000 {
                    let bytes = (round * seed * 7_919) % 90_000;
                    // The count must stay correct whether the request is granted or refused.
                    let _ = held.try_follow(bytes);
                    assert!(budget.used() <= 100_000);
                }
            });
        }
    });
    assert_eq!(budget.used(), 0);
}

#[test]
fn pressure_rises_with_usage() {
    let budget = Budget::new(800);
    let steps = [
        (400, Pressure::Low),
        (1, Pressure::Short),
        (299, Pressure::Short),
        (1, Pressure::High),
        (99, Pressure::High),
        (1, Pressure::Exhausted),
    ];
    let mut held = Vec::new();
    for (bytes, pressure) in steps {
        held.push(budget.charge(bytes));
        assert_eq!(budget.pressure(), pressure, "{} of 800", budget.used());
    }
}
