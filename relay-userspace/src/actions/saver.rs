//! Writes the file of actions and the audit log, beside the controller's loop: a disk may take its time.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{Actions, Done, file};
use crate::audit;
use crate::exit::{Exit, Failure};
use crate::privileges;

/// What an operator is told once it is on disk.
type Answer = (oneshot::Sender<Result<Done, Failure>>, Result<Done, Failure>);

/// A thread that writes. Dropping it waits until all is written.
#[derive(Debug)]
pub struct Saver {
    sender: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What is to be written, and who waits for it.
#[derive(Debug, Default)]
struct Job {
    actions: Option<Actions>,
    record: Option<audit::Record>,
    answer: Option<Answer>,
}

impl Saver {
    /// Starts the thread.
    pub fn start(path: PathBuf, audit: audit::Log) -> Result<Self, Failure> {
        let (sender, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("saver".to_owned())
            .spawn(move || {
                privileges::drop_all();
                write_all(&jobs, &path, audit);
            })
            .map_err(|error| Failure::io("start a thread", &error))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Writes what holds now, without telling anybody.
    pub fn save(&self, actions: &Actions) {
        self.send(Job { actions: Some(actions.clone()), ..Job::default() });
    }

    /// Writes down what the relay did by itself.
    pub fn note(&self, record: audit::Record) {
        self.send(Job { record: Some(record), ..Job::default() });
    }

    /// Writes what an order came to, and then answers who gave it. Without `actions` nothing has changed.
    pub fn conclude(
        &self,
        actions: Option<&Actions>,
        record: audit::Record,
        to: oneshot::Sender<Result<Done, Failure>>,
        result: Result<Done, Failure>,
    ) {
        self.send(Job { actions: actions.cloned(), record: Some(record), answer: Some((to, result)) });
    }

    fn send(&self, job: Job) {
        if self.sender.as_ref().is_none_or(|sender| sender.send(job).is_err()) {
            tracing::error!("what was done at run time can no longer be saved: the thread for it has ended");
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // Without a sender the thread comes to its end.
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn write_all(jobs: &mpsc::Receiver<Job>, path: &std::path::Path, mut audit: audit::Log) {
    while let Ok(first) = jobs.recv() {
        // Of several states only the last one matters.
        let mut batch = vec![first];
        batch.extend(jobs.try_iter());
        let latest = batch.iter_mut().rev().find_map(|job| job.actions.take());
        let saved = latest.map_or(Ok(()), |actions| file::save(path, &actions));
        if let Err(error) = &saved {
            tracing::error!("cannot write {}: {error}", path.display());
        }
        for job in batch {
            let result = job.answer.map(|(to, result)| {
                let result = match (&saved, result) {
                    (Err(error), Ok(done)) => Err(unsaved(&done, path, error)),
                    (_, result) => result,
                };
                (to, result)
            });
            if let Some(record) = job.record {
                audit.write(&record.ended(result.as_ref().map(|(_, result)| result)));
            }
            if let Some((to, result)) = result {
                // Who asked may have gone.
                drop(to.send(result));
            }
        }
    }
}

fn unsaved(done: &Done, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let message = format!(
        "{} {} is in force, but {} cannot be written: {error}",
        done.action,
        done.target,
        path.display()
    );
    Failure::new(Exit::Failed, message)
        .hint("it will be lost when the controller restarts: make room, and repeat it")
}
