//! Workers that wait by spinning between the steps of a token.
//!
//! Decode of a small model makes some 150 forks a token, of a few microseconds each. A pool that parks its threads between them spends
//! half of the token on waking up, so a [`Team`] keeps its workers spinning briefly and parks them only when no step comes.
#![expect(unsafe_code, reason = "a step's closure and its disjoint output views cross to workers that `run` outlives")]

use ndarray::{ArrayViewMut2, ShapeBuilder};
use std::cell::UnsafeCell;
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker spins after the last step before it parks: longer than the serial part between two steps, shorter than anybody would
/// notice.
const SPIN: Duration = Duration::from_micros(200);

/// A fixed set of threads, the caller among them, that share out the tasks of one step at a time.
///
/// ```
/// use scant_tensor_core::team::Team;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let team = Team::new(2);
/// let sum = AtomicUsize::new(0);
/// team.run(100, |i| { sum.fetch_add(i, Ordering::Relaxed); });
/// assert_eq!(sum.into_inner(), 4950);
/// ```
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One step at a time, if several threads call `run`.
    turn: Mutex<()>,
}

struct Shared {
    step: Apart<Step>,
    crew: Apart<Crew>,
    /// For each thread, the next task of its share.
    next: Box<[Apart<AtomicUsize>]>,
    /// Whether there are more threads than cores.
    crowded: bool,
}

/// What the leader writes and workers read.
struct Step {
    /// Odd while a step is open.
    epoch: AtomicUsize,
    tasks: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    stop: AtomicBool,
}

/// What workers write.
struct Crew {
    /// Workers that are, or may be, inside the open step.
    inside: AtomicUsize,
    asleep: AtomicUsize,
    panicked: AtomicBool,
}

/// On a cache line of its own (two: the hardware fetches pairs), since handing a line from core to core is what a step costs.
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Deref for Apart<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

type Job = *const (dyn Fn(usize) + Sync);

// SAFETY: `job` is written only while no step is open and nobody is inside, and read only inside an open step; the rest is atomic.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is only followed inside a step, during which its owner waits in `Team::run`.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared {{ epoch: {:?} }}", self.step.epoch)
    }
}

impl Shared {
    /// The first task of the share of thread `i`: shares are runs of neighbours, so that each thread reads one stretch of memory.
    fn share(&self, i: usize, tasks: usize) -> usize {
        i * tasks / self.next.len()
    }

    /// Does the tasks of the share of thread `me`, then what others have left of theirs.
    fn work(&self, me: usize, job: &(dyn Fn(usize) + Sync)) {
        // Relaxed, here and below: whoever is inside a step has seen its opening, and with it all that was stored before.
        let tasks = self.step.tasks.load(Ordering::Relaxed);
        for share in (me..self.next.len()).chain(0..me) {
            let end = self.share(share + 1, tasks);
            // Relaxed: the count alone decides who has a task; what tasks write is handed over when their thread leaves the step. A look at a
            // share that is done leaves its line where it is.
            while self.next[share].load(Ordering::Relaxed) < end {
                let i = self.next[share].fetch_add(1, Ordering::Relaxed);
                if i >= end {
                    break;
                }
                job(i);
            }
        }
    }

    fn worker(&self, me: usize) {
        let mut seen = 0;
        loop {
            let epoch = self.wait(seen);
            if self.step.stop.load(Ordering::Relaxed) {
                return;
            }
            // First announce, then look again; the leader closes the step, then looks who is inside. These four are SeqCst: only in one
            // order of all of them must one of the two see the other. (On x86 and AArch64 it costs nothing over acquire and release.)
            self.crew.inside.fetch_add(1, Ordering::SeqCst);
            if self.step.epoch.load(Ordering::SeqCst) == epoch {
                // SAFETY: the step `epoch` is open and cannot be left by the leader while this worker is inside.
                let job = unsafe { *self.step.job.get() };
                if let Some(job) = job {
                    // SAFETY: as above: the closure outlives the step.
                    let job = unsafe { &*job };
                    if catch_unwind(AssertUnwindSafe(|| self.work(me, job))).is_err() {
                        self.crew.panicked.store(true, Ordering::Relaxed);
                    }
                }
            }
            // Release: what the tasks wrote, for the leader, which reads 0 here with acquire.
            self.crew.inside.fetch_sub(1, Ordering::Release);
            seen = epoch;
        }
    }

    /// Until a step other than `seen` is open, or the team stops.
    fn wait(&self, mut seen: usize) -> usize {
        let mut start = Instant::now();
        loop {
            for _ in 0..64 {
                // Acquire: the job and its tasks, stored before the step was opened.
                let epoch = self.step.epoch.load(Ordering::Acquire);
                if epoch % 2 == 1 && epoch != seen || self.step.stop.load(Ordering::Relaxed) {
                    return epoch;
                }
                if epoch != seen {
                    // A step came and went without this worker. More will come.
                    (seen, start) = (epoch, Instant::now());
                }
                std::hint::spin_loop();
            }
            // Another worker, or the leader, may be waiting for this very core.
            if self.crowded {
                std::thread::yield_now();
            }
            if start.elapsed() > SPIN {
                break;
            }
        }
        // SeqCst, as in `run`: first say that one sleeps, then look; the leader opens, then looks who sleeps. And `unpark` before `park` is
        // not lost.
        self.crew.asleep.fetch_add(1, Ordering::SeqCst);
        let epoch = loop {
            let epoch = self.step.epoch.load(Ordering::SeqCst);
            if epoch % 2 == 1 && epoch != seen || self.step.stop.load(Ordering::Relaxed) {
                break epoch;
            }
            std::thread::park();
        };
        self.crew.asleep.fetch_sub(1, Ordering::Relaxed);
        epoch
    }
}

impl Team {
    /// The most threads of a team.
    pub const MOST: usize = 1024;

    /// `threads` threads, of which the caller is one; 0 counts as 1, and of more than [`Team::MOST`] no more are made.
    ///
    /// More threads than cores only get in each other's way: a step ends when the last of them has had its turn.
    pub fn new(threads: usize) -> Team {
        let threads = threads.min(Team::MOST);
        let step =
            Step { epoch: AtomicUsize::new(0), tasks: AtomicUsize::new(0), job: UnsafeCell::new(None), stop: AtomicBool::new(false) };
        let crew = Crew { inside: AtomicUsize::new(0), asleep: AtomicUsize::new(0), panicked: AtomicBool::new(false) };
        let next = (0..threads.max(1)).map(|_| Apart(AtomicUsize::new(0))).collect();
        let crowded = std::thread::available_parallelism().is_ok_and(|cores| threads > cores.get());
        let shared = Arc::new(Shared { step: Apart(step), crew: Apart(crew), next, crowded });
        let spawn = |me| {
            let shared = shared.clone();
            std::thread::Builder::new().spawn(move || shared.worker(me)).ok()
        };
        // Where the system gives no more threads those that there are do the work: any thread takes what another leaves.
        Team { workers: (1..threads).map_while(spawn).collect(), shared, turn: Mutex::new(()) }
    }

    /// Threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f` once for each of `0..tasks`, in any order, on any of the threads. Tasks must not call the team themselves.
    ///
    /// # Panics
    /// If a task panics, after every other task that had begun has ended.
    pub fn run(&self, tasks: usize, f: impl Fn(usize) + Sync) {
        if self.workers.is_empty() || tasks <= 1 {
            return (0..tasks).for_each(f);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        let job: &(dyn Fn(usize) + Sync) = &f;
        // SAFETY: only the lifetime changes. No step is open, so nobody reads `job`, and the pointer is dropped below before `f` is.
        let job_static: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job) };
        // SAFETY: no step is open and nobody is inside: this is the only access.
        unsafe { *shared.step.job.get() = Some(job_static) };
        // Relaxed: the opening below hands them over, and nobody is inside who could read them before.
        shared.step.tasks.store(tasks, Ordering::Relaxed);
        for (i, next) in shared.next.iter().enumerate() {
            next.store(shared.share(i, tasks), Ordering::Relaxed);
        }
        shared.step.epoch.fetch_add(1, Ordering::SeqCst);
        if shared.crew.asleep.load(Ordering::SeqCst) > 0 {
            self.workers.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        }
        let mine = catch_unwind(AssertUnwindSafe(|| shared.work(0, job)));
        shared.step.epoch.fetch_add(1, Ordering::SeqCst);
        // SeqCst for the look after closing, which includes acquire for what the tasks of others wrote.
        while shared.crew.inside.load(Ordering::SeqCst) > 0 {
            if shared.crowded {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        // SAFETY: the step is closed and nobody is inside: this is the only access.
        unsafe { *shared.step.job.get() = None };
        // Relaxed: stored inside the step, which is over.
        let panicked = shared.crew.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        assert!(!panicked, "a task of the team panicked");
    }

    /// Calls `f(i, y[.., cuts[i]])` for each of `cuts`, which ascend without overlap inside the columns of `y`.
    ///
    /// # Panics
    /// If `cuts` overlap, descend or leave `y`, if the rows of `y` are not contiguous, or if `f` panics.
    pub fn split(&self, mut y: ArrayViewMut2<'_, f32>, cuts: &[Range<usize>], f: impl Fn(usize, ArrayViewMut2<'_, f32>) + Sync) {
        let (tokens, columns) = y.dim();
        if tokens == 0 {
            return;
        }
        let mut end = 0;
        for cut in cuts {
            assert!(end <= cut.start && cut.start <= cut.end && cut.end <= columns, "Team::split: cut {cut:?} of {columns} columns");
            end = cut.end;
        }
        assert!(y.strides()[1] == 1 || columns <= 1, "Team::split: rows are not contiguous");
        let stride = if tokens > 1 { usize::try_from(y.strides()[0]).expect("Team::split: rows run backwards") } else { columns };
        let base = Base(y.as_mut_ptr());
        self.run(cuts.len(), |i| {
            let (base, cut) = (&base, &cuts[i]);
            // SAFETY: the cut lies inside the columns of `y`, so the pointer stays inside its first row.
            let first = unsafe { base.0.add(cut.start) };
            // SAFETY: the view covers columns `cut` of `y`, which is borrowed mutably throughout; cuts do not overlap and each is visited once.
            let part = unsafe { ArrayViewMut2::from_shape_ptr((tokens, cut.len()).strides((stride, 1)), first) };
            f(i, part);
        });
    }
}

/// The start of an array whose disjoint parts go to several threads.
struct Base(*mut f32);
// SAFETY: only `Team::split` makes one, and hands out disjoint parts.
unsafe impl Sync for Base {}

impl Drop for Team {
    fn drop(&mut self) {
        // The unpark below, or the next look of a spinning worker, brings it to them.
        self.shared.step.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so it has none of its own to report.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn every_task_runs_once_in_each_of_many_steps() {
        for threads in [1, 2, 3, 5] {
            let team = Team::new(threads);
            for step in 0..500 {
                let mut y = Array2::zeros((2, 40));
                let cuts = [0..16, 16..32, 32..40];
                team.split(y.view_mut(), &cuts, |i, mut y| y += (i + step) as f32);
                for (i, cut) in cuts.into_iter().enumerate() {
                    assert!(y.slice(ndarray::s![.., cut]).iter().all(|v| *v == (i + step) as f32));
                }
                if step % 100 == 0 {
                    std::thread::sleep(Duration::from_millis(1)); // long enough for workers to park
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(3);
        for bad in [0, 7, 63] {
            let caught = catch_unwind(AssertUnwindSafe(|| team.run(64, |i| assert_ne!(i, bad))));
            assert!(caught.is_err());
            team.run(64, |_| ());
        }
    }

    #[test]
    #[should_panic(expected = "cut 8..24")]
    fn overlapping_cuts_are_refused() {
        Team::new(1).split(Array2::zeros((1, 32)).view_mut(), &[0..16, 8..24], |_, _| ());
    }
}
