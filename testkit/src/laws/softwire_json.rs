//! What is read from JSON survives writing in both layouts, and the text is then a fixed point.

use lw4o6_binding::formats::Source;
use lw4o6_binding::formats::json::{Instance, Layout, export, import};

use super::{CLOCK, message_is_clean};

/// Input: a document.
pub fn law(data: &[u8]) {
    let instances = match import(data, CLOCK) {
        Ok(instances) => instances,
        Err(error) => return message_is_clean(&error),
    };
    let pretty = written(&instances, Layout::Pretty);
    for text in [&pretty, &written(&instances, Layout::Compact)] {
        let read = import(text, CLOCK);
        assert!(read.is_ok(), "refuses what it wrote: {read:?}");
        let read = read.unwrap_or_default();
        assert_eq!(comparable(&read), comparable(&instances));
        assert_eq!(written(&read, Layout::Pretty), pretty);
    }
    let content = pretty.trim_ascii_end();
    for cut in [1, content.len() / 2] {
        let prefix = super::prefix(content, content.len() - cut);
        assert!(
            import(prefix, CLOCK).is_err(),
            "accepts a document that is cut"
        );
    }
}

fn written(instances: &[Instance], layout: Layout) -> Vec<u8> {
    let mut out = Vec::new();
    let result = export(&mut out, instances, CLOCK, layout);
    assert!(result.is_ok(), "{result:?}");
    out
}

/// Without what writing does not keep: the order of the bindings, and where they stood.
fn comparable(instances: &[Instance]) -> Vec<Instance> {
    let mut instances = instances.to_vec();
    for instance in &mut instances {
        for imported in &mut instance.bindings {
            assert!(imported.place(&instance.name).is_some());
            imported.source = Source::Program;
        }
        let bindings = &mut instance.bindings;
        bindings.sort_by_key(|b| (b.binding.prefix(), b.binding.key()));
    }
    instances
}
