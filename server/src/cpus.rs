//! Keeping to some of the machine's processors.

use std::io;

/// Keeps this thread, and all threads that it will start, on these processors, numbered from 0.
///
/// Whoever asks how many processors there are is told of these alone.
#[cfg(target_os = "linux")]
pub fn keep_to(cpus: &[usize]) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("no system has a processor {cpu}")));
        }
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Not possible on this system.
#[cfg(not(target_os = "linux"))]
pub fn keep_to(_cpus: &[usize]) -> io::Result<()> {
    Err(io::Error::other("threads cannot be kept to processors on this system"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::*;

    /// A thread is kept where it should be, those that it starts stay there too, and no others are touched.
    #[test]
    fn threads_inherit_their_processors() {
        let before = thread::available_parallelism().unwrap();
        let allowed = sched_getaffinity(None).unwrap();
        let one = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                keep_to(&[one]).unwrap();
                let inside = thread::spawn(|| thread::available_parallelism().unwrap().get());
                assert_eq!(inside.join().unwrap(), 1);
            });
        });
        assert_eq!(thread::available_parallelism().unwrap(), before);
        assert!(keep_to(&[usize::MAX]).is_err());
        assert!(keep_to(&[]).is_err());
    }
}
