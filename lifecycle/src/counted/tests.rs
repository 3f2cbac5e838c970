//! Singular and plural.

use super::counted;

#[test]
fn only_one_is_in_the_singular() {
    assert_eq!(counted(1_u64, "document"), "1 document");
    assert_eq!(counted(0_usize, "document"), "0 documents");
    assert_eq!(counted(21_u32, "document"), "21 documents");
}

#[test]
fn a_noun_that_ends_in_y_changes_it_unless_a_vowel_precedes() {
    assert_eq!(counted(2_u32, "audit entry"), "2 audit entries");
    assert_eq!(counted(1_u32, "audit entry"), "1 audit entry");
    assert_eq!(counted(2_u32, "key"), "2 keys");
}
