//! A store that several writers share, each over a line of its own: the line can be held up, as if its writer were stopped,
//! and can bring creates late, twice, or lose the answer.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

/// What is waited for comes in this time, or never.
const PATIENCE: Duration = Duration::from_secs(if cfg!(feature = "s3") { 300 } else { 60 });

/// Before a call reaches the store, or before its answer is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// What becomes of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done.
    Done,
    /// Its writer is told that it failed; it is done after so many further calls.
    Late(usize),
    /// It is done twice, and the answer is that to the second.
    Twice,
    /// It is done, and its writer is told that it failed.
    AnswerLost,
}

#[derive(Default)]
struct State {
    calls: usize,
    /// The writer is stopped once it gets there.
    stop: Option<(usize, When)>,
    stopped: bool,
    /// What becomes of the next creates of commits; done, if there are none.
    fates: VecDeque<Fate>,
    /// Creates on their way, and when they get there.
    late: Vec<(usize, Path, PutPayload)>,
}

/// One writer's way to the store.
pub(crate) struct Line {
    store: Arc<dyn ObjectStore>,
    state: Mutex<State>,
    changed: Condvar,
}

impl Line {
    pub(crate) fn new(store: &Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), state: Mutex::default(), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the writer at that call from now on, counted from 0.
    pub(crate) fn stop(&self, calls: usize, when: When) {
        let mut state = self.lock();
        state.stop = Some((state.calls + calls, when));
    }

    /// Lets the writer go on.
    pub(crate) fn go_on(&self) {
        let mut state = self.lock();
        (state.stop, state.stopped) = (None, false);
        self.changed.notify_all();
    }

    /// Waits until the writer is stopped, or something else is so. Returns whether it is stopped.
    pub(crate) fn is_stopped_or(&self, mut other: impl FnMut() -> bool) -> bool {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if self.lock().stopped {
                return true;
            }
            if other() {
                return false;
            }
            assert!(std::time::Instant::now() < deadline, "the writer neither stops nor ends");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// What becomes of the next creates of commits.
    pub(crate) fn destine(&self, fates: impl IntoIterator<Item = Fate>) {
        self.lock().fates.extend(fates);
    }

    /// Everything that is on its way gets there.
    pub(crate) async fn arrive(&self) {
        let late = std::mem::take(&mut self.lock().late);
        for (_, path, payload) in late {
            self.create(&path, payload).await.map_or_else(drop, drop);
        }
    }

    async fn create(&self, path: &Path, payload: PutPayload) -> Result<PutResult> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(path, payload, options).await
    }

    /// One end of a call: here the writer may be stopped.
    fn pass(&self, when: When) {
        let mut state = self.lock();
        // A call that was under way when the stop was set may have passed its place: then it is the next one.
        if state.stop.is_some_and(|(calls, stop)| stop == when && calls <= state.calls) {
            state.stopped = true;
        }
        if when == When::After {
            state.calls += 1;
        }
        while state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What comes late and has come now.
    async fn deliver(&self) {
        let due: Vec<_> = {
            let mut state = self.lock();
            let calls = state.calls;
            let (due, late) = std::mem::take(&mut state.late).into_iter().partition(|(at, ..)| *at <= calls);
            state.late = late;
            due
        };
        for (_, path, payload) in due {
            // Somebody else may have the name by now.
            self.create(&path, payload).await.map_or_else(drop, drop);
        }
    }

    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.pass(When::Before);
        self.deliver().await;
        let answer = call.await;
        self.pass(When::After);
        answer
    }
}

fn lost() -> Error {
    Error::Generic { store: "line", source: "no answer in time".into() }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line to {}", self.store)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for Line {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create || !path.as_ref().starts_with("commit/") {
            return self.call(self.store.put_opts(path, payload, options)).await;
        }
        let fate = self.lock().fates.pop_front().unwrap_or(Fate::Done);
        self.call(async {
            match fate {
                Fate::Done => self.create(path, payload).await,
                Fate::Late(calls) => {
                    let mut state = self.lock();
                    let at = state.calls + calls;
                    state.late.push((at, path.clone(), payload));
                    Err(lost())
                }
                Fate::Twice => {
                    self.create(path, payload.clone()).await?;
                    self.create(path, payload).await
                }
                Fate::AnswerLost => self.create(path, payload).await.and_then(|_| Err(lost())),
            }
        })
        .await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "put_multipart_opts".into(), implementer: self.to_string() })
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(self.store.get_opts(path, options)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // The stream is taken after this, so a writer is always stopped before it has deleted anything.
        self.pass(When::Before);
        self.pass(When::After);
        self.store.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call(self.store.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy_opts".into(), implementer: self.to_string() })
    }
}
