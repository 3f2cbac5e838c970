//! Holds `clara.v1` against its committed baseline: nothing removed, renumbered or retyped; additions are free.

use std::{collections::BTreeMap, error::Error, path::Path};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
    field_descriptor_proto::Label,
};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline/clara.v1.txt");
const UPDATE: &str = "CLARA_UPDATE_BASELINE=1 cargo test -p clara-proto --test compatibility";

/// Everything that a peer relies on: what it is called, and what must stay true of it.
type Surface = BTreeMap<String, String>;

fn surface() -> Result<Surface, Box<dyn Error>> {
    let files = FileDescriptorSet::decode(clara_proto::DESCRIPTORS)?;
    let mut surface = Surface::new();
    for file in files.file.iter().filter(|file| file.package() == "clara.v1") {
        for message in &file.message_type {
            describe_message(&mut surface, "", message);
        }
        for enumeration in &file.enum_type {
            describe_enum(&mut surface, "", enumeration);
        }
        for service in &file.service {
            describe_service(&mut surface, service);
        }
    }
    Ok(surface)
}

fn describe_message(surface: &mut Surface, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}{}", message.name());
    surface.insert(format!("message {name}"), String::new());
    for field in &message.field {
        let label = match field.label() {
            Label::Repeated => "repeated ",
            Label::Optional if field.proto3_optional() => "optional ",
            Label::Optional | Label::Required => "",
        };
        let scalar = || format!("{:?}", field.r#type()).to_lowercase();
        let kind = if field.type_name().is_empty() { scalar() } else { field.type_name().to_owned() };
        let real_choice = field.oneof_index.filter(|_| !field.proto3_optional());
        let choice = real_choice.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
        let choice = choice.map(|choice| format!(" in {}", choice.name())).unwrap_or_default();
        let described = format!("{label}{kind} = {}{choice}", field.number());
        surface.insert(format!("field {name}.{}", field.name()), described);
    }
    for nested in &message.nested_type {
        describe_message(surface, &format!("{name}."), nested);
    }
    for enumeration in &message.enum_type {
        describe_enum(surface, &format!("{name}."), enumeration);
    }
}

fn describe_enum(surface: &mut Surface, scope: &str, enumeration: &EnumDescriptorProto) {
    for value in &enumeration.value {
        let name = format!("value {scope}{}.{}", enumeration.name(), value.name());
        surface.insert(name, value.number().to_string());
    }
}

fn describe_service(surface: &mut Surface, service: &ServiceDescriptorProto) {
    for method in &service.method {
        let streams = |is_stream| if is_stream { "stream " } else { "" };
        let (input, output) = (streams(method.client_streaming()), streams(method.server_streaming()));
        let described = format!("{input}{} -> {output}{}", method.input_type(), method.output_type());
        surface.insert(format!("call {}.{}", service.name(), method.name()), described);
    }
}

fn written(surface: &Surface) -> String {
    let mut text = String::from("# What peers of clara.v1 rely on. Made by: ");
    text.push_str(UPDATE);
    text.push('\n');
    for (name, described) in surface {
        text.push_str(name);
        if !described.is_empty() {
            text.push_str(": ");
            text.push_str(described);
        }
        text.push('\n');
    }
    text
}

fn read(text: &str) -> Surface {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, described) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), described.to_owned())
        })
        .collect()
}

/// What is in `before` and is gone from `now` or means something else there.
fn broken(before: &Surface, now: &Surface) -> Vec<String> {
    before
        .iter()
        .filter_map(|(name, was)| match now.get(name) {
            Some(is) if is == was => None,
            Some(is) => Some(format!("{name} was `{was}` and is `{is}`")),
            None => Some(format!("{name} (`{was}`) is gone")),
        })
        .collect()
}

#[test]
fn nothing_that_peers_rely_on_was_removed_renumbered_or_retyped() -> Result<(), Box<dyn Error>> {
    let now = surface()?;
    if std::env::var_os("CLARA_UPDATE_BASELINE").is_some() {
        std::fs::create_dir_all(Path::new(BASELINE).parent().unwrap())?;
        std::fs::write(BASELINE, written(&now))?;
    }
    let before = read(&std::fs::read_to_string(BASELINE)?);
    let broken = broken(&before, &now);
    assert!(
        broken.is_empty(),
        "within v1 only additions are allowed:\n  {}\nput back what changed and add a new field beside it",
        broken.join("\n  ")
    );
    let new: Vec<_> = now.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    assert!(new.is_empty(), "additions are welcome; record them with `{UPDATE}`:\n  {}", new.join("\n  "));
    Ok(())
}

#[test]
fn a_removed_a_renumbered_and_a_retyped_field_are_found() {
    let before = read("field A.a: string = 1\nfield A.b: uint32 = 2\nfield A.c: string = 3\nmessage A");
    let now = read("field A.b: uint64 = 2\nfield A.c: string = 4\nfield A.d: string = 5\nmessage A");
    assert_eq!(
        broken(&before, &now),
        [
            "field A.a (`string = 1`) is gone",
            "field A.b was `uint32 = 2` and is `uint64 = 2`",
            "field A.c was `string = 3` and is `string = 4`",
        ]
    );
}
