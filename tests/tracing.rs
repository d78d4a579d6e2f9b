//! What a `tracing` subscriber sees of crossings. One test only: a subscriber of one thread, and threads without, share what `tracing`
//! remembers of each place that reports.
#![expect(clippy::unwrap_used, reason = "a test's own bookkeeping")]

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use ringfence::{Sandbox, Waiting};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down spans and events, one line each, with their fields.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

struct Fields<'l>(&'l mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Notes {
    fn of(&self, id: &Id) -> usize {
        usize::try_from(id.into_u64()).unwrap() - 1
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ringfence")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = format!("span {}", span.metadata().name());
        span.record(&mut Fields(&mut line));
        let mut lines = self.0.lock().unwrap();
        lines.push(line);
        Id::from_u64(lines.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap()[self.of(span)]));
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = format!("event {}", event.metadata().level());
        event.record(&mut Fields(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn one_span_a_crossing_and_an_event_a_fault_and_a_new_worker() {
    let notes = Notes::default();
    tracing::subscriber::with_default(notes.clone(), || {
        let sandbox = Sandbox::builder().waiting(Waiting::Sleep).build().unwrap();
        let before = notes.lines().len();
        assert_eq!(sandbox.call(|bytes: &[u8]| bytes.len() as u64, &[1, 2, 3][..]).unwrap(), 3);
        assert_eq!(sandbox.run(|| 7_u32).unwrap(), 7);
        sandbox.call(|()| panic!("on purpose"), ()).map(|(): ()| ()).unwrap_err();
        sandbox.call(|()| (), ()).unwrap();

        let lines = notes.lines().split_off(before);
        let spans: Vec<&String> = lines.iter().filter(|line| line.starts_with("span")).collect();
        assert_eq!(spans.len(), 4, "{lines:#?}");
        let holds = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
        let call = [
            "crossing",
            "backend=\"process\"",
            "operation=\"call\"",
            "bytes_in=11",
            "bytes_out=8",
            "outcome=\"returned\"",
        ];
        assert!(holds(spans[0], &call), "{}", spans[0]);
        assert!(
            holds(spans[1], &["operation=\"run\"", "bytes_in=0", "bytes_out=4", "outcome=\"returned\""]),
            "{}",
            spans[1]
        );
        assert!(holds(spans[2], &["outcome=\"panic\""]), "{}", spans[2]);
        let faults = lines.iter().filter(|line| holds(line, &["event WARN", "kind=\"panic\"", "on purpose"]));
        assert_eq!(faults.count(), 1, "{lines:#?}");
        let respawned = lines.iter().any(|line| holds(line, &["event DEBUG", "worker", "pid="]));
        assert!(respawned, "{lines:#?}");
    });
}
