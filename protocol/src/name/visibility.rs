//! Which characters readers cannot see, and where a script or an emoji needs one of them. The properties are Unicode's,
//! from ICU4X.

use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed,
    props::{
        DefaultIgnorableCodePoint, Emoji, EmojiComponent, EmojiModifier, EmojiPresentation,
        ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, Ideographic, JoiningType,
        Math, PrependedConcatenationMark, Script, VariationSelector,
    },
};
use unicode_normalization::char::canonical_combining_class;

const CATEGORY: CodePointMapDataBorrowed<'static, GeneralCategory> =
    CodePointMapData::<GeneralCategory>::new();
const SCRIPT: CodePointMapDataBorrowed<'static, Script> = CodePointMapData::<Script>::new();
const JOINING_TYPE: CodePointMapDataBorrowed<'static, JoiningType> =
    CodePointMapData::<JoiningType>::new();
const IGNORABLE: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<DefaultIgnorableCodePoint>();
const PREPENDED_MARK: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<PrependedConcatenationMark>();
const VARIATION_SELECTOR: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<VariationSelector>();
const IDEOGRAPHIC: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Ideographic>();
const MATH: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Math>();
const EMOJI: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<Emoji>();
const EMOJI_COMPONENT: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<EmojiComponent>();
const EMOJI_MODIFIER: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<EmojiModifier>();
const SHOWN_AS_EMOJI: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<EmojiPresentation>();
const PICTOGRAPHIC: CodePointSetDataBorrowed<'static> =
    CodePointSetData::new::<ExtendedPictographic>();

/// Symbols and letters with an empty glyph. No Unicode property names them: braille blank, null notehead, Khitan
/// filler, and the two blank hieroglyphs.
const EMPTY_GLYPHS: [char; 5] = ['\u{2800}', '\u{1D159}', '\u{16FE4}', '\u{13441}', '\u{13442}'];

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
const MONGOLIAN_VOWEL_SEPARATOR: char = '\u{180E}';
const COMBINING_KEYCAP: char = '\u{20E3}';
/// VS15, text presentation, and VS16, emoji presentation.
const PRESENTATION: std::ops::RangeInclusive<char> = '\u{FE0E}'..=EMOJI_PRESENTATION;
const EMOJI_PRESENTATION: char = '\u{FE0F}';
const TAGS: std::ops::RangeInclusive<char> = '\u{E0020}'..=CANCEL_TAG;
const CANCEL_TAG: char = '\u{E007F}';
/// The canonical combining class of viramas.
const VIRAMA: u8 = 9;

/// Whether a character controls a device or breaks a line, so that no name of one line contains it.
pub(super) fn is_control(c: char) -> bool {
    matches!(
        CATEGORY.get(c),
        GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Whether a character has no glyph: zero-width characters, direction marks, variation selectors, tags, fillers.
pub(super) fn is_invisible(c: char) -> bool {
    IGNORABLE.contains(c)
        || CATEGORY.get(c) == GeneralCategory::Format && !PREPENDED_MARK.contains(c)
}

/// Whether a character changes the direction of the text after it (UAX #9). With one, `photo<RLO>gpj.exe` is displayed
/// as `photoexe.jpg`, which hides the extension. The marks LRM, RLM and ALM are not among them.
pub(super) fn is_direction_change(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character looks like a space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || EMPTY_GLYPHS.contains(&c)
}

/// Whether readers see nothing of a text.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| is_space(c) || is_control(c) || is_invisible(c))
}

/// Letters, digits and marks of any script.
pub(super) fn is_word(c: char) -> bool {
    let category = CATEGORY.get(c);
    let is_word = GeneralCategoryGroup::Letter
        .union(GeneralCategoryGroup::Mark)
        .union(GeneralCategoryGroup::Number)
        .contains(category);
    is_word && !is_invisible(c) && !EMPTY_GLYPHS.contains(&c)
}

/// The first invisible character that changes nothing at its place, or changes the direction of the text.
pub(super) fn misplaced(text: &str) -> Option<char> {
    if text.is_ascii() {
        return None;
    }
    let chars: Vec<char> = text.chars().collect();
    let is_misplaced = |(at, c): &(usize, &char)| is_invisible(**c) && !is_needed(&chars, *at);
    chars.iter().enumerate().find(is_misplaced).map(|(_, c)| *c)
}

/// A text without the characters that [`misplaced`] finds.
pub(super) fn without_misplaced(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_kept = |(at, c): &(usize, &char)| !is_invisible(**c) || is_needed(&chars, *at);
    chars.iter().enumerate().filter(is_kept).map(|(_, c)| *c).collect()
}

/// Whether the invisible character at an index has an effect on its neighbours that readers see.
fn is_needed(chars: &[char], at: usize) -> bool {
    let Some((&c, before)) = chars[..=at].split_last() else { return false };
    let after = &chars[at + 1..];
    let Some(&previous) = before.last() else { return false };
    match c {
        ZERO_WIDTH_NON_JOINER => is_virama(previous) || separates_joining(before, after),
        ZERO_WIDTH_JOINER => {
            is_virama(previous) || joins_virama(previous, after) || joins_emoji(before, after)
        }
        MONGOLIAN_VOWEL_SEPARATOR => is_of_script(previous, SCRIPT.get(c)),
        _ if PRESENTATION.contains(&c) => has_presentations(previous, after),
        _ if VARIATION_SELECTOR.contains(c) => has_variants(previous, c),
        _ if TAGS.contains(&c) => is_in_flag(chars, at),
        _ => false,
    }
}

/// An emoji with a presentation selector after every character that is a plain symbol without one (UTS #51, ED-18a).
pub(super) fn fully_qualified(text: &str) -> String {
    let mut chars = text.chars().filter(|c| *c != EMOJI_PRESENTATION).peekable();
    let mut emoji = String::with_capacity(text.len() + 8);
    while let Some(c) = chars.next() {
        emoji.push(c);
        let is_modified = chars.peek().is_some_and(|next| EMOJI_MODIFIER.contains(*next));
        if EMOJI.contains(c) && !SHOWN_AS_EMOJI.contains(c) && !is_modified {
            emoji.push(EMOJI_PRESENTATION);
        }
    }
    emoji
}

fn is_letter(c: char) -> bool {
    GeneralCategoryGroup::Letter.contains(CATEGORY.get(c))
}

fn is_of_script(c: char, script: Script) -> bool {
    is_letter(c) && SCRIPT.get(c) == script
}

fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == VIRAMA
}

/// RFC 5892, appendix A.1: letters on both sides would be connected without the ZWNJ, as in Persian.
fn separates_joining(before: &[char], after: &[char]) -> bool {
    let is_seen = |joining: &JoiningType| *joining != JoiningType::Transparent;
    let left = before.iter().rev().map(|c| JOINING_TYPE.get(*c)).find(is_seen);
    let right = after.iter().map(|c| JOINING_TYPE.get(*c)).find(is_seen);
    matches!(left, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

/// A ZWJ between a letter and a virama chooses another form of the letter, as in Bengali and Kannada.
fn joins_virama(previous: char, after: &[char]) -> bool {
    after.first().is_some_and(|&next| is_virama(next) && is_of_script(previous, SCRIPT.get(next)))
}

/// UAX #29, rule GB11.
fn joins_emoji(before: &[char], after: &[char]) -> bool {
    let is_extension = |c: &char| *c == EMOJI_PRESENTATION || EMOJI_MODIFIER.contains(*c);
    let base = before.iter().rev().find(|c| !is_extension(c));
    let is_pictographic = |c: Option<&char>| c.is_some_and(|c| PICTOGRAPHIC.contains(*c));
    is_pictographic(base) && is_pictographic(after.first())
}

/// Whether a character has a text and an emoji presentation. Digits have one only as the base of a keycap.
fn has_presentations(previous: char, after: &[char]) -> bool {
    let is_keycap = after.first() == Some(&COMBINING_KEYCAP);
    EMOJI.contains(previous) && (is_keycap || !EMOJI_COMPONENT.contains(previous))
}

/// Ideographs, mathematical symbols, and scripts with variants of their own. Mongolian has selectors of its own.
fn has_variants(previous: char, selector: char) -> bool {
    match SCRIPT.get(selector) {
        Script::Inherited => {
            IDEOGRAPHIC.contains(previous)
                || MATH.contains(previous)
                || matches!(SCRIPT.get(previous), Script::Myanmar | Script::PhagsPa)
        }
        script => is_of_script(previous, script),
    }
}

/// Whether a tag belongs to an emoji flag, such as that of Scotland.
fn is_in_flag(chars: &[char], at: usize) -> bool {
    let is_tag = |c: &char| TAGS.contains(c);
    let base = chars[..at].iter().rposition(|c| !is_tag(c));
    let end = chars[at..].iter().position(|c| *c == CANCEL_TAG);
    let (Some(base), Some(end)) = (base, end) else { return false };
    let flag: String = chars[base..=at + end].iter().collect();
    emojis::get(&flag).is_some()
}
