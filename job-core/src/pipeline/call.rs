//! What the stack is called with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{JobFuture, JobService, Ready};
use crate::handler::Prepared;
use crate::{JobContext, JobId, QueueName};

/// One job about to run: what layers are called with.
///
/// Its args are decoded and its handler is chosen; a layer sees neither. What a layer changes is
/// seen by the layers further in and by the handler, through its [`JobContext`], in this attempt.
/// The message on the queue stays as it is: the next attempt begins with what was enqueued.
///
/// It cannot be cloned, so a layer calls its inner service once or not at all.
pub struct Call {
    context: JobContext,
    prepared: Prepared,
    /// What the stack goes on to where the worker's layers end.
    queue: Option<JobService>,
    /// What it goes on to where those of the queue end. Not ready yet.
    job: Option<JobService>,
}

impl Call {
    pub(crate) fn new(context: JobContext, prepared: Prepared, job: Option<JobService>) -> Self {
        Self { context, prepared, queue: None, job }
    }

    /// The run that it is about to be, as the handler will see it.
    pub fn context(&self) -> &JobContext {
        &self.context
    }

    /// The id of the job, the same in every attempt.
    pub fn id(&self) -> JobId {
        self.context.id()
    }

    /// The name of the job, or what a layer further out put in its place.
    pub fn name(&self) -> &str {
        self.context.name()
    }

    /// Puts another name in its place, for layers further in and for [`JobContext::name`]: to tell
    /// the jobs of tenants apart in metrics, say. Logs, the span of the run, the message and the
    /// poison queue keep the job's own, and the handler that runs stays the same.
    pub fn set_name(&mut self, name: impl Into<Arc<str>>) {
        self.context.changes().name = Some(name.into());
    }

    /// The queue it came from.
    pub fn queue(&self) -> &QueueName {
        self.context.queue()
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.context.attempt()
    }

    /// What is attached under that key.
    pub fn meta(&self, key: &str) -> Option<&str> {
        self.context.meta(key)
    }

    /// Everything that is attached, to be changed. The first use copies it.
    pub fn meta_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.context.changes().meta
    }

    /// Attaches a value; gives back what was there under that key.
    pub fn insert_meta(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Option<String> {
        self.meta_mut().insert(key.into(), value.into())
    }

    /// Passes a value of any type on to layers further in and to the handler, which finds it with
    /// [`JobContext::extension`]. One value a type: it replaces what was there.
    pub fn insert_extension<T: Send + Sync + 'static>(&mut self, value: T) {
        self.context.changes().extensions.insert(Arc::new(value));
    }

    /// What a layer further out passed on.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.context.extension()
    }

    /// Calls the stack of the worker with it, which goes on to that of the queue.
    pub(crate) fn go(mut self, ready: &mut Ready) -> JobFuture {
        self.queue = ready.queue.take();
        tower_service::Service::call(&mut ready.worker, self)
    }

    pub(super) fn take_queue(&mut self) -> Option<JobService> {
        self.queue.take()
    }

    pub(super) fn take_job(&mut self) -> Option<JobService> {
        self.job.take()
    }

    pub(super) fn run(self) -> JobFuture {
        self.prepared.run(self.context)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("context", &self.context).finish_non_exhaustive()
    }
}
