"""The plots of the tales, in the language of `grammar`; `episodes` has the rest.

A tale is a title, an opening, a road of episodes, a trial and an ending. No alternative of a rule
may begin another (`clashes` finds none), which is why an ending that can be put in several
ways, such as `<how>` or `<close>`, brings its own full stop.
"""

PLOTS = """
tale
  6 [HERO=name] AND THE [LOOK=look] [THING=thing]|<opening> <custom>|<errand>
  3 [HERO=name]'S [LOOK=look] [THING=thing]|<opening> <custom>|<errand>
  5 HOW [HERO=name] (FOUND/WON BACK/RESCUED) THE [LOOK=look] [THING=thing]|<opening>
    <custom>|<loss>
  5 [HERO=name] AND [FRIEND=name!hero]|<friends>|<quarrel>
  4 THE [LOOK=look] [THING=thing]|<finder>
  4 (THE ROAD/THE WAY/A JOURNEY) TO [LAND=land]|<leaver>

opening
  9 Once upon a time, <place>, there lived [mood.a] {hero.child} (named/called) {hero}<trait>
  7 Once upon a time there was [one=mood.a] (but/and/yet) [mood!one] {hero.child} (named/called)
    {hero}<trait>
  4 (Long ago/Years ago/In the old days), when every [animal] (wore/owned/wanted) <dress>, {hero}
    lived <place>.
  3 In [land] they still (tell of/talk about/sing of/laugh about) {hero}, the [mood] {hero.son} of
    <folk>.
  3 No {hero.child} <place> was as [one=mood] as {hero}, (and none/or half) as [mood!one].
  2 {Hero} was born on a [weekday] in [month], while <view>.
  2 (This is/Here comes/Listen to) the story of {hero}, [mood.a] {hero.child} who lived <place>
    with <creature>.
  1 "(Tell us/Sing to us/Read to us) about {hero}!" the [mood] children say. Well, {hero} was
    [mood] and [colour]-haired.

place
  6 in [lie.a] [home] [near] the [lie] [wild]
  3 in the [lie] land of [land]
  3 on the (far/near/other/sunny/windy) side of the [lie] [wild]
  2 at the [lie] edge of [land]
  2 between the [one=wild] and the [wild!one]

trait
  4 .
  4 , who (loved/was good at/believed in/lived for) [one=hobby] and [hobby!one].
  3 , the [mood] {hero.son} of <folk>.
  3 , who (never parted with/was proud of/slept in/had inherited) <dress>.
  3  and <creature> (named/called) [name!hero].
  2 ; and in all [land] nobody (ate/sold/stole/wasted) [food] so [adverb].
  1 , though {hero.his} [kin] always said: "my [coat] [animal]".

custom
  4 Every [weekday] {hero.he} [walk] [over] the [lie] [wild] (to gather/in search of/to look at)
    [flower]<how>
  3 {hero.His} [kin] (worked for/was afraid of/had married) <folk> and smelled of [one=food] and
    [food!one].
  3 In [one=month] {hero.he} sold [food], and in [month!one] [flower].
  3 (All day long/At school/In bed) {hero.he} (dreamed of/thought of/drew) <meal> and [hobby].
  3 {hero.He} had no [kin], only <creature> and [lie.a] [home] full of [flower].
  3 {hero.He} (wore/was given/sewed) <dress> and (ate/cooked/was fond of) <meal>.
  2 At night {hero.he} (lay awake/sat up/looked out) and (listened/wondered/counted): <view>, and
    [animal.a] [act]<how>
  2 The neighbours were <folk>, [elder.a] and [number] [mood] [animal.s].
  2 Nobody knew that {hero.he} could (talk with/sing like/understand) the [sort] [many].

errand
  4 One [lie] [month] morning {hero.his} [kin=kin] [adverb] gave {hero.him} {look.a} {thing}.
    "(Take/Carry/Bring) [some] [food=food] to your [mood] [other=kin!kin] in [land=land]," {kin.he}
    [said], "and (remember/mind/be sure): [virtue=mood.a] [model=animal]
    [proverb=proverb]."|<gift_road>
  3 On {hero.his} birthday {hero} got <dress> and {look.a} {thing} from {hero.his} [mood]
    [kin=kin]. "(Go/Run/Sail) to [land=land]," {kin.he} [said] [adverb]. "Your [other=kin!kin] has
    (no/hardly any/only mouldy) [food=food] left. And [virtue=mood.a] [model=animal]
    [proverb=proverb]."|<gift_road>
  3 But {hero.his} [kin=kin] was [mood]. "They (need/want/beg for) [food=food] in [land=land], and
    your [mood] [other=kin!kin] can hardly [act.base]," {kin.he} [said]. From the [keep] {kin.he}
    took {look.a} {thing}. "This will (help/comfort/protect) you. [virtue=mood.A] [model=animal]
    [proverb=proverb]."|<gift_road>
  2 When {hero} had been [act.ing] for [number] days, {hero.his} [mood] [kin=kin] [said] [adverb]:
    "A letter from [land=land]! Your [mood] [other=kin!kin] (longs for/is out of/dreams of)
    [food=food]. [virtue=mood.A] [model=animal] [proverb=proverb], so go, and take the {look}
    {thing}."|<gift_road>

gift_road
  7 <episode>|<gift_road>
  4 <gift_trial>

gift_trial
  4 [Soon] {hero} saw the [lie] (roofs/towers/lights) of {land}. But [near] the gate
    (stood/sat/lay) [coat.a] [foe=foe] in <dress>. <threat> <gift_power>|<gift_end>
  3 (And so/Tired and [mood],/On a [weekday]) {hero} [walk] into {land}. The [sort] streets were
    empty, <view>, and <spot> (stood/sat/lay) [coat.a] [foe=foe], eating [one=food] and [food!one].
    <threat> <gift_power>|<gift_end>
  3 Not far from {land} the (ground/air/road) [gleam], <view>, and out of the [lie] [wild] [walk]
    [coat.a] [foe=foe]. <threat> <gift_power>|<gift_end>

threat
  3 "[Hello], {hero}!" [said] the {foe}. "I (shall/might/always) (eat/fry/serve) you with
    [one=food] and [food!one]!"
  3 "Who [act.s] (at/in/outside) my [home]?" [asked] the {foe}. "(Give/Sell/Lend) me your [cloth]
    [garment], or I will [act.base]!"
  2 "Nobody may (pass/enter/look) but <folk> with [number] [coat] [animal.s]!" [said] the {foe}
    [adverb].
  2 The {foe} [one=act] and [act!one], and {hero} felt [one=feeling] and [feeling!one].

gift_power
  4 [Soon] {hero} (remembered/thought of/felt for) the {look} {thing}. It [gleam] like [number]
    [many]. The {foe} turned [colour], [act], and [walk] away [over] the [lie] [wild]<how>
  3 {Hero} [adverb] (held up/took out/offered) the {thing}. "[mood.A] (gift/loan/joke) from my
    {kin}," <hero_says> The {foe}, who had (wanted/expected/eaten) [flower] and [food], [cry] for
    [feeling] and [walk] [over] the [lie] [wild]<how>
  3 "[Oh]!" <hero_says> One (touch/kiss/look) of the {look} {thing}, and the {foe} [one=act],
    [act!one], and (grew/became/felt) as small and [coat] as [animal.a].

gift_end
  4 {hero.His} {other} [act], ate the {food} with [some] [food], and [cry] for [feeling]. "What
    [mood.a] {hero.child}!" {other.he} [said] [adverb]. The {look} {thing} still [gleam.s] [near]
    the [tree] in {land}. <moral>
  3 How {hero.his} {other} [act]! They had {food} with [one=food] and [food!one], and <view>.
    [Dawn], {hero} [walk] home, and {hero.his} {kin} (hung/hid/kept) the {thing} in [look.a]
    [keep]. <moral>
  3 "(Do I smell/Did you bring/Are you hiding) {food}?" [asked] {hero.his} {other} [adverb]. They
    ate it <spot> with <folk> and <creature>, and the {thing} [gleam]<how> <moral>

loss
  4 One [lie] [weekday] [coat.a] messenger [walk] (up to/past/round) the house. "[Ruler=trade] of
    [land=land] has lost {look.a} {thing}," he [said]. "Whoever (finds/brings) it shall have
    [count=number] [gloss=look] [prize=thing.s]!" {Hero} packed [some] [food] and [walk] after him.
    "[virtue=mood.A] [model=animal] [proverb=proverb]," (called/sighed/whispered) {hero.his} [kin]
    [adverb].|<lost_road>
  3 (In those days/By then/That year) [ruler=trade] of [land=land] owned {look.a} {thing}; but
    [coat.a] [animal] (stole/took/ate) it in [month], and <view>. "I will (find/fetch) it,"
    <hero_says> "(Even/But not) without [count=number] [gloss=look] [prize=thing.s]." And
    {hero.his} [mood] [kin] [said]: "[virtue=mood.A] [model=animal] [proverb=proverb]."|<lost_road>
  3 [Soon] {hero} had a dream: <creature> [act] [near] the [tree]. "[Ruler=trade] of [land=land]
    (has no/weeps for the/wants the) {look} {thing}," it [said] [adverb]. "(Find/Bring) it and win
    [count=number] [gloss=look] [prize=thing.s]. Do not [act.base], for [virtue=mood.a]
    [model=animal] [proverb=proverb]."|<lost_road>

lost_road
  7 <episode>|<lost_road>
  4 <lost_find>|<lost_end>

lost_find
  4 At the end of the [lie] road stood [home=home.a]; in the {home} stood [keep=keep.a]; in the
    {keep}, under [number] [cloth] [garment.s], lay the {look} {thing}. It [gleam] [adverb].
    "[Oh]!" <hero_says>
  3 [Near] the [tree] something [gleam] among the [flower]: the {look} {thing}, and on it sat
    [coat.a] [beast=animal]. "(Take/Have/Keep) it," the {beast} [said] [adverb]. "It makes me
    (too/so/rather) [mood]."
  3 That [lie] (evening/night/day) {hero} [cry] for [feeling], and one tear fell into [keep.a].
    There was a sound as if [number] [sort] [many] [gleam], and there (lay/was/stood) the {look}
    {thing}!

lost_end
  4 {Ruler} of {land} [cry] for [feeling] and gave {hero} {count} {gloss} {prize.s}, as
    (promised/agreed). <moral>
  3 "My {look} {thing}!" [said] {ruler} of {land}. "Will you have {count} {gloss} {prize.s}, or
    (rather/maybe/just) [one=food] and [food!one] for [number] years?" {Hero} [adverb] (chose/took)
    {count} {gloss} {prize.s}. <moral>
  2 [Dawn], {hero} (brought/carried/dragged) the {thing} to {land}, and {ruler} gave {hero.him}
    {count} {gloss} {prize.s}. And the thief? It [act], got <dress>, and was (forgiven/pitied).
    <moral>

friends
  5 Once upon a time two (friends/neighbours) lived <place>: {hero} and {friend}. {Hero} was
    [one=mood] and (loved/liked/hated) [two=hobby]; {friend} was [mood!one] and
    (loved/liked/preferred) [hobby!two].
  3 {Hero} and {friend} were born on the same [weekday], one in [lie.a] [home], the other in
    [lie.a] [home]. They shared (everything/it all): [food], [garment.s], and even the [coat]
    [animal].
  3 (Long ago/Years ago), in [land], nobody saw {hero} without {friend}. In [one=month] they [walk]
    [over] the [lie] [wild], and in [month!one] they sat <spot> and ate <meal>.

quarrel
  4 One [lie] [weekday] they (found/saw) [look=look.a] [thing=thing] [near] the [tree]. "(It is
    mine/Give it to me/Hands off)!" <hero_says> "(No, mine/I saw it first/Never)!" [said] {friend},
    and [walk] away [over] the [lie] [wild]<how> {Hero} kept the {look} {thing}, and felt
    [one=feeling] and [feeling!one].|<sorry_road>
  3 But [dawn] <folk> gave them [look=look.a] [thing=thing]. "You are too [mood] for it," [said]
    {friend} [adverb]. "And you are like [coat.a] [animal]!" <hero_says> They parted <spot>, {hero}
    with the {thing} and {friend} with [some] [food].|<sorry_road>

sorry_road
  6 <episode>|<sorry_road>
  4 <rescue>

rescue
  4 [Soon] somebody [act] <spot>. It was {friend}, locked in [keep.a] by [coat.a] [foe=foe]! {Hero}
    (threw/swung/showed) the {look} {thing} at the {foe}, who [act], (picked it up/turned
    [colour]/lost [number] teeth), and [walk] away. "So [virtue=mood.a] [model=animal]
    [proverb=proverb]," [said] {friend} [adverb].|<friends_end>
  3 There, [near] the [tree], lay [colour.a] [garment=garment]. It was {friend}'s {garment}! "I am
    the most [mood] {hero.child} in [land]," <hero_says> "(Not quite/Almost/True)," [said] a voice,
    and there {friend} [act]. "My [kin] (always says/has proved/forgets) that [virtue=mood.a]
    [model=animal] [proverb=proverb]."|<friends_end>
  3 When {hero} could only [act.base], (someone/a hand) pulled at {hero.his} [cloth] [garment]. "I
    (looked/called/wept) for you for [number] days," [said] {friend}, "and I bring [some] [food].
    You know, [virtue=mood.a] [model=animal] [proverb=proverb]."|<friends_end>

friends_end
  4 {Hero} and {friend} [act] until <view>. They never (quarrelled/spoke/wrote poems) about the
    {look} {thing} again. <moral>
  3 They gave the {look} {thing} to <creature>, and {hero} and {friend} [walk] home, [hobby] all
    the way. <moral>
  3 Since that [sort] day {hero} has the {look} {thing} on every [one=weekday], {friend} on every
    [weekday!one], and they (eat/share/cook) <meal> together. <moral>

finder
  5 Once upon a time [hero=name], [mood.a] {hero.child} who lived <place>, (found/heard/noticed)
    {look.a} {thing} in [keep.a]. <custom>|<genie>
  4 Nobody (remembers/knows/asks) who made the {look} {thing}. It lay in [keep.a] <place> until
    [hero=name], the [mood] {hero.son} of <folk>, [act] on it. <custom>|<genie>
  3 On [lie.a] [weekday] in [month] [hero=name], [mood.a] {hero.child}, bought {look.a} {thing}
    from <folk> for [number] pennies and [some] [food]. <custom>|<genie>

genie
  4 "[Hello], {hero}," [said] the {look} {thing}. "I [gleam.base] for <folk> in [land], and grant
    three wishes every [weekday]. But (mind/remember): [virtue=mood.a] [model=animal]
    [proverb=proverb]."|<first_wish>
  3 "I (can/must/may) grant three wishes," it [said] [adverb], "before I go on [gleam.ing] for
    [number] years. And (mind/remember): [virtue=mood.a] [model=animal] [proverb=proverb]." "[Oh]!"
    <hero_says>|<first_wish>

first_wish
  4 The first wish was for [feast=food]. [Soon] [number] [keep.s] full of {feast}
    (fell/rained/rolled) [over] the [wild], and {hero.his} [kin] (felt/grew/looked)
    [mood].|<wish_road>
  3 First {hero} wished for a (rain/flood/storm) of [feast=food]. [Number] days later <view>, and
    <folk> [act]<how>|<wish_road>

wish_road
  6 <episode>|<wish_road>
  4 <second_wish>

second_wish
  4 "(Now/Next) make me <folk>!" <hero_says> But the {thing} was busy [hobby], and made {hero.him}
    [coat.a] [self=animal] in <dress>.|<third_wish>
  3 "(And now/Secondly,) I wish for [feeling]," <hero_says> The {look} {thing} [gleam], and {hero}
    woke up in [lie.a] [wild], the (servant/cook/prisoner) of [coat.a] [self=foe].|<third_wish>

third_wish
  4 "(Undo it all/Make it stop/No more wishes)!" <hero_says> The {self} [act] and [walk] away, the
    {feast} turned into [flower], and the {thing} [gleam]<how> <moral>
  3 After [number] [lie] days {hero} thought of a third wish: "Home!" And there {hero.he} [act],
    with no {self}, but with [some] {feast} in [look.a] [keep]. <moral>

leaver
  5 Once upon a time [hero=name], [mood.a] {hero.child} from [lie.a] [home] [near] the [lie]
    [wild], asked [coat.a] [pal=animal]: "What is it like in {land}?" <rumour>
  3 In the days when [coat] [animal.s] could (read/write/vote), [hero=name] <place> got a letter.
    "Come to {land}," it said, signed by [coat.a] [pal=animal] in <dress>. <rumour>

rumour
  4 "In {land}," [said] the {pal}, "the [crowd=many] [gleam.base] all night, and the
    (wells/cellars/streets) are full of [feast=food]." {Hero} put on <dress>, and {hero.his} [kin]
    [said]: "[virtue=mood.A] [model=animal] [proverb=proverb]." They left on [lie.a] [weekday] in
    [month].|<far_road>
  3 "Ah, {land}!" the {pal} [said] [adverb]. "There every [animal] (eats/gets/throws) [feast=food],
    and the [crowd=many] are as (big/old/clever) as [animal.s]. But it takes [number] days and
    [feeling], and [virtue=mood.a] [model=animal] [proverb=proverb]." So they [walk] away
    together<how>|<far_road>

far_road
  7 <episode>|<far_road>
  2 <chat>|<far_road>
  4 <arrival>

chat
  4 "Is it still far to {land}?" <hero_asks> "[Number] (days/hours/weeks) [over] the [lie] [wild],"
    the {pal} [said] [adverb].
  3 "I am tired of [walk.ing]," [said] the {pal}. So {hero} carried it in <dress> as far as the
    [lie] [wild].
  3 "Tell me about the {feast}," <hero_says> "It is as [mood] as [food]," [said] the {pal}, "and as
    [colour] as [flower]."

arrival
  4 [Soon], [over] the [lie] [wild], they saw {land}. There [gleam] the {crowd}, and [number]
    [animal.s] (ate/threw/guarded) the {feast}. "[Oh]!" [said] the {pal} [adverb]. <moral>
  3 But {land} was only [lie.a] [home] with [elder.a] in it, <chore>. "The {crowd}
    (left/died/moved) in [month]," [said] the {pal}, "and <folk> ate the {feast}." "The road was
    [mood] (enough/anyway)," <hero_says> <moral>

moral
  4 {Hero} (never forgot/often said/now knew) that {virtue.a} {model} {proverb}.<close>
  4 (You see,/Perhaps/For) {virtue.a} {model} {proverb}.<close>
  3 And if you (ask/meet/tickle) {hero}, {hero.he} will [act.base] and say that {virtue.a} {model}
    {proverb}.<close>
  2 So it is true, as the [sort] [many] (say/sing/know): {virtue.a} {model} {proverb}!<close>

close
  7 ||
  4 |THE END||
  2 |If they have not (moved/melted/been eaten), they still live <place>.||
  2 |<Creature> from [land] told me this [adverb], <chore>.||
  2 |Then <view>. Good night, and dream of <meal>!||
"""
