//! Tests of the command line itself.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_has_no_contradictions() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_teaches_by_an_example() {
    fn look(command: &clap::Command, path: &str, without: &mut Vec<String>) {
        let has_children = command.get_subcommands().any(|child| child.get_name() != "help");
        if !has_children && command.get_after_help().is_none() {
            without.push(path.to_owned());
        }
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            look(child, &format!("{path} {}", child.get_name()), without);
        }
    }
    let mut without = Vec::new();
    look(&Cli::command(), "clara", &mut without);
    assert_eq!(without, Vec::<String>::new());
}

#[test]
fn global_flags_may_stand_after_the_command() {
    let cli = Cli::try_parse_from(["clara", "job", "list", "-o", "json", "--home", "there"]).unwrap();
    assert_eq!(cli.global.output, Format::Json);
    assert_eq!(cli.global.home, Some(PathBuf::from("there")));
}

#[test]
fn what_belongs_to_later_versions_is_not_offered() {
    for line in [["clara", "registry", "rollback"], ["clara", "registry", "deprecate"]] {
        assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
    }
}

#[test]
fn a_negative_number_is_a_wrong_value_and_no_unknown_flag() {
    for flag in ["--seed", "--top-k"] {
        let line = ["clara", "ingest", "--out", "there", flag, "-1"];
        let error = Cli::try_parse_from(line).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{error}");
    }
}
