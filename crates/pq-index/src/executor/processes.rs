//! Shards in child processes.

use super::message::{Opened, hits, opened, receive, send};
use super::{Executor, Task};
use crate::error::Error;
use scant_tensor_core::retrieve::{Hit, Order};
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A process for each shard, which keeps it open. One that ends is started again, once for a call. Ends its processes when dropped.
pub struct Processes {
    workers: Vec<Mutex<Worker>>,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    order: Order,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes that were started, each of which read its shard's file.
    pub starts: u64,
    /// Answers of those that were there already.
    pub warm: u64,
    /// Bytes of tasks.
    pub sent: u64,
    /// Bytes of answers.
    pub received: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.starts += other.starts;
        self.warm += other.warm;
        self.sent += other.sent;
        self.received += other.received;
    }
}

struct Worker {
    file: PathBuf,
    digest: String,
    running: Option<Running>,
    counts: Counts,
}

struct Running {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// The answer to a message.
    fn ask(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        send(&mut self.input, bytes)?;
        receive(&mut self.output)?.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it ended without an answer"))
    }
}

impl Worker {
    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::Worker { shard: self.file.clone(), why: why.to_string() }
    }

    /// Starts the process and has it open the shard.
    fn start(&mut self, mut command: Command) -> Result<Opened, Error> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| self.failed(e))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.failed("it has no standard input and output"));
        };
        let mut running = Running { child, input: BufWriter::new(input), output: BufReader::new(output) };
        let name = self.file.to_str().ok_or_else(|| self.failed("its name is not UTF-8"))?;
        let said = running.ask(name.as_bytes()).map_err(|e| self.failed(e))?;
        let opened = opened(&said)?.map_err(|why| self.failed(why))?;
        self.running = Some(running);
        self.counts.starts += 1;
        Ok(opened)
    }

    fn call(&mut self, task: &[u8], command: &dyn Fn() -> Command) -> Result<Vec<u8>, Error> {
        let mut last = None;
        for _ in 0..2 {
            let warm = self.running.is_some();
            if !warm {
                let opened = self.start(command())?;
                if opened.digest != self.digest {
                    return Err(Error::QuantizerMismatch { want: self.digest.clone(), got: opened.digest });
                }
            }
            let Some(running) = &mut self.running else { continue };
            match running.ask(task) {
                Ok(answer) => {
                    self.counts += Counts { starts: 0, warm: warm.into(), sent: task.len() as u64, received: answer.len() as u64 };
                    return Ok(answer);
                }
                Err(error) => {
                    self.running = None;
                    last = Some(error);
                }
            }
        }
        Err(self.failed(last.map_or_else(|| "it does not start".to_owned(), |error| error.to_string())))
    }
}

impl Processes {
    /// Starts a worker for each file. `command` gives a program that calls [`serve`](super::serve) on its standard input and output.
    ///
    /// # Errors
    /// [`Error::Worker`] if one does not start or cannot open its file; [`Error::QuantizerMismatch`] if two shards were not trained together;
    /// [`Error::LengthMismatch`] without files.
    pub fn start<P: Into<PathBuf>>(
        files: impl IntoIterator<Item = P>,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Result<Processes, Error> {
        let mut workers: Vec<Mutex<Worker>> = vec![];
        let mut first: Option<Opened> = None;
        for file in files {
            let mut worker = Worker { file: file.into(), digest: String::new(), running: None, counts: Counts::default() };
            let opened = worker.start(command())?;
            let first = first.get_or_insert(Opened { digest: opened.digest.clone(), order: opened.order });
            if first.digest != opened.digest {
                return Err(Error::QuantizerMismatch { want: first.digest.clone(), got: opened.digest });
            }
            worker.digest = opened.digest;
            workers.push(worker.into());
        }
        match first {
            None => Err(Error::LengthMismatch { what: "shards", want: 1, got: 0 }),
            Some(first) => Ok(Processes { workers, command: Box::new(command), order: first.order }),
        }
    }

    /// What all of them did so far.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.workers.iter().for_each(|worker| sum += worker.lock().unwrap_or_else(PoisonError::into_inner).counts);
        sum
    }

    /// The process of each shard, by the system's number, where one runs.
    pub fn ids(&self) -> Vec<Option<u32>> {
        let id = |worker: &Mutex<Worker>| worker.lock().unwrap_or_else(PoisonError::into_inner).running.as_ref().map(|r| r.child.id());
        self.workers.iter().map(id).collect()
    }
}

impl Executor for Processes {
    fn shards(&self) -> usize {
        self.workers.len()
    }

    fn order(&self) -> Order {
        self.order
    }

    fn call(&self, shard: usize, task: &Task) -> Result<Vec<Vec<Hit>>, Error> {
        let mut worker = self.workers[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let answer = worker.call(&task.to_bytes()?, &*self.command)?;
        hits(&answer, task.queries.nrows())?.map_err(|why| worker.failed(why))
    }
}
