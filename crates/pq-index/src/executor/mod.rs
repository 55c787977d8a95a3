//! The shards of an index, searched by whoever holds them: threads of this process, child processes, or the workers of an engine.
//!
//! A [`Task`] goes to every shard, each answers with its best, and [`search`] merges them: exactly what one index of all rows would find.
//! An [`Executor`] only has to carry bytes. [`Processes`] starts a program of yours for every shard, which calls [`serve`]; it keeps the
//! shard that it opened, so that only the first call reads the file (SQUASH, Oakley and Ferhatosmanoglu 2025, calls that data retention).
//!
//! ```no_run
//! use scant_pq_index::executor::{Processes, Task, search, serve};
//! use std::process::Command;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     if std::env::args().nth(1).as_deref() == Some("worker") {
//!         return Ok(serve(std::io::stdin().lock(), std::io::stdout().lock())?);
//!     }
//!     let program = std::env::current_exe()?;
//!     let workers = Processes::start(["a.safetensors", "b.safetensors"], move || {
//!         let mut worker = Command::new(&program);
//!         worker.arg("worker");
//!         worker
//!     })?;
//!     let task = Task { nprobe: Some(16), ..Task::new(ndarray::Array2::zeros((1, 128)), 10) };
//!     println!("{:?}", search(&workers, &task)?);
//!     Ok(())
//! }
//! ```

mod message;
mod processes;
mod tree;

pub use message::serve;
pub use processes::{Counts, Processes};
pub use tree::{Node, Tree};

use crate::error::Error;
use crate::index::Index;
use crate::search::SearchOptions;
use crate::shard::Shards;
use ndarray::Array2;
use scant_tensor_core::retrieve::{Filter, Hit, Order, merge};

/// A search that can be sent to another process.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// `[queries, dim]`.
    pub queries: Array2<f32>,
    /// How many hits are wanted of each.
    pub k: usize,
    /// Lists to read; the index's own number without.
    pub nprobe: Option<usize>,
    /// Only rows for which it holds. Sets of row numbers cannot be sent.
    pub filter: Option<Filter>,
}

impl Task {
    /// For the best `k` of each query.
    pub fn new(queries: Array2<f32>, k: usize) -> Task {
        Task { queries, k, nprobe: None, filter: None }
    }

    /// What an index finds.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn run(&self, index: &Index) -> Result<Vec<Vec<Hit>>, Error> {
        let options = SearchOptions { nprobe: self.nprobe, filter: self.filter.as_ref(), ..Default::default() };
        index.search(self.queries.view(), self.k, &options)
    }
}

/// Who searches shards. Calls for different shards may come at the same time.
pub trait Executor: Sync {
    /// How many there are.
    fn shards(&self) -> usize;

    /// Which scores are better.
    fn order(&self) -> Order;

    /// What one of them finds.
    ///
    /// # Errors
    /// As [`Index::search`], or what kept the shard from answering.
    fn call(&self, shard: usize, task: &Task) -> Result<Vec<Vec<Hit>>, Error>;
}

/// In this process.
impl Executor for Shards {
    fn shards(&self) -> usize {
        self.parts().len()
    }

    fn order(&self) -> Order {
        self.parts()[0].metric().order()
    }

    fn call(&self, shard: usize, task: &Task) -> Result<Vec<Vec<Hit>>, Error> {
        task.run(&self.parts()[shard])
    }
}

/// The best `k` of each query over all shards, called at the same time.
///
/// # Errors
/// That of the first shard that has one.
pub fn search(executor: &dyn Executor, task: &Task) -> Result<Vec<Vec<Hit>>, Error> {
    // A call may wait for another process, which is not for a pool of threads that compute.
    let partial: Vec<Result<Vec<Vec<Hit>>, Error>> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..executor.shards()).map(|shard| scope.spawn(move || executor.call(shard, task))).collect();
        calls.into_iter().map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let partial: Vec<Vec<Vec<Hit>>> = partial.into_iter().collect::<Result<_, _>>()?;
    let best = |query: usize| merge(partial.iter().filter_map(|p| p.get(query)).map(|hits| &hits[..]), task.k, executor.order());
    Ok((0..task.queries.nrows()).map(best).collect())
}
