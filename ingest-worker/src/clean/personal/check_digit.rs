//! Check digits of IBANs and German tax numbers.

/// Countries with IBANs and the length of these.
const IBAN_LENGTHS: [(&str, usize); 40] = [
    ("AD", 24),
    ("AT", 20),
    ("BE", 16),
    ("BG", 22),
    ("CH", 21),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("EE", 20),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IS", 26),
    ("IT", 27),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MT", 31),
    ("NL", 18),
    ("NO", 15),
    ("PL", 28),
    ("PT", 25),
    ("RO", 24),
    ("RS", 22),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("TR", 26),
];

/// The length of a country's IBANs.
pub(super) fn iban_length(country: &str) -> Option<usize> {
    IBAN_LENGTHS.iter().find(|(known, _)| *known == country).map(|(_, length)| *length)
}

/// Whether letters and digits without blanks satisfy ISO 13616: modulo 97 of the rearranged number is 1.
pub(super) fn is_iban(compact: &str) -> bool {
    let Some((head, tail)) = compact.split_at_checked(4) else { return false };
    let remainder = tail.chars().chain(head.chars()).try_fold(0_u32, |rest, letter| {
        let value = letter.to_digit(36)?;
        let shifted = if value > 9 { rest * 100 } else { rest * 10 };
        Some((shifted + value) % 97)
    });
    remainder == Some(1)
}

/// Whether eleven digits are a German tax identification number: no leading zero, one digit of the first ten twice or three
/// times and the others at most once, check digit after ISO 7064 (modulo 11, 10).
pub(super) fn is_tax_id(digits: &[u8]) -> bool {
    let Some((check, first)) = digits.split_last() else { return false };
    if first.len() != 10 || first.first() == Some(&0) {
        return false;
    }
    let mut counts = [0; 10];
    for digit in first {
        if let Some(count) = counts.get_mut(usize::from(*digit)) {
            *count += 1;
        }
    }
    let repeated: Vec<i32> = counts.into_iter().filter(|count| *count > 1).collect();
    matches!(repeated.as_slice(), [2 | 3]) && u32::from(*check) == iso_7064(first)
}

/// Whether nine digits are those of a German VAT id.
pub(super) fn is_vat_id(digits: &[u8]) -> bool {
    let Some((check, first)) = digits.split_last() else { return false };
    first.len() == 8 && u32::from(*check) == iso_7064(first)
}

fn iso_7064(digits: &[u8]) -> u32 {
    let product = digits.iter().fold(10, |product, digit| {
        let sum = match (u32::from(*digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    match 11 - product {
        10 => 0,
        check => check % 10,
    }
}
