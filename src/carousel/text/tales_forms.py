"""The sentence forms of the tales, in the language of `tales_grammar`.

What is told: a title, an opening, a road of episodes, a trial, an ending. Five plots share the
episodes; an episode may be a story that somebody tells, with episodes of its own. No alternative of
a rule may begin another (`tales_analysis.clashes` finds none), which is why sentences end inside
the rule that can end them in several ways.
"""

FORMS = """
tale
  6 [HERO=name] AND THE [LOOK=look] [THING=thing]|<opening> <custom>|<errand>
  3 [HERO=name]'S [LOOK=look] [THING=thing]|<opening> <custom>|<errand>
  5 HOW [HERO=name] FOUND THE [LOOK=look] [THING=thing]|<opening> <custom>|<loss>
  5 [HERO=name] AND [FRIEND=name!hero]|<friends>|<quarrel>
  4 THE [LOOK=look] [THING=thing]|<finder>
  4 THE ROAD TO [LAND=land]|<leaver>

opening
  8 Once upon a time, <place>, there lived [mood.a] {hero.child} named {hero}<trait>
  6 Once upon a time there was [mood.a] {hero.child} called {hero}<trait>
  3 Long ago, when every [animal] wore [colour.a] [garment], {hero} lived <place>.
  3 In [land] they still tell of {hero}, the [mood] {hero.son} of [trade.a].
  3 There was no {hero.child} <place> as [one=mood] as {hero}, and none as [mood!one].
  2 {Hero} was born on a [weekday] in [month], while the [many] [act].
  2 This is the story of {hero}, [mood.a] {hero.child} who lived <place>.
  1 "Tell us about {hero}!" the children always say. Well, {hero} was [mood] and [colour]-haired.

place
  5 in [home.a] [near] the [lie] [wild]
  3 in the land of [land]
  3 on the far side of the [lie] [wild]
  2 at the edge of [land]
  2 between the [one=wild] and the [wild!one]

trait
  5 .
  4 , who loved [one=hobby] and [hobby!one].
  3 , the youngest {hero.son} of [trade.a].
  3 , who was never seen without [colour.a] [garment].
  2  and [coat.a] [animal] named [name!hero].
  2 ; and in all of [land] nobody was so fond of [food].
  1  (though {hero.his} [kin] said: "my little [animal]").

custom
  4 Every [weekday] {hero.he} [walk] [over] the [wild] to gather [flower].
  3 {hero.His} [kin] worked for [trade.a] and smelled of [food].
  3 In [one=month] {hero.he} sold [food], and in [month!one] {hero.he} sold [flower].
  3 All day long {hero.he} dreamed of [hobby] and of [food].
  3 {hero.He} had no [kin], only [coat.a] [animal] and a house full of [flower].
  2 At night {hero.he} lay awake and listened: the [many] [act], and [animal.a] [act].
  2 The neighbours were [trade.a], [trade.a] and [number] [mood] sisters.
  2 Nobody knew that {hero.he} could talk with the [many].

errand
  4 One [month] morning {hero.his} [kin=kin] gave {hero.him} {look.a} {thing}. "Take some
    [food=food] to your [other=kin!kin] in [land=land]," {kin.he} [said], "and remember:
    [lesson=lesson]."|<gift_road>
  3 On {hero.his} birthday {hero} got {look.a} {thing} from {hero.his} [kin=kin]. "Keep it in your
    [garment]," {kin.he} [said] [adverb], "and carry this [food=food] to [land=land], where your
    [other=kin!kin] lives. Never forget that [lesson=lesson]."|<gift_road>
  3 But {hero.his} [kin=kin] was worried. "There is no more [food=food] in [land=land], and your
    poor [other=kin!kin] must be hungry," {kin.he} [said]. From the [keep] {kin.he} took {look.a}
    {thing}. "This will help you. They say that [lesson=lesson]."|<gift_road>
  2 When {hero} was [number] years old, {hero.his} [kin=kin] called {hero.him}. "A letter from
    [land=land]! Your [other=kin!kin] wants [food=food]. [Lesson=lesson], so go at once, and take
    the {look} {thing} along."|<gift_road>

gift_road
  6 <episode>|<gift_road>
  4 <gift_trial> <gift_power>|<gift_end>

gift_trial
  4 At last {hero} saw the roofs of {land}. But at the gate stood [foe=foe.a] in [colour.a] [garment].
    <threat>
  3 And so {hero} came to {land}. The streets were empty, the [many] [act], and on the market place
    sat [foe=foe.a], eating [food]. <threat>
  3 It was not far to {land} now. Then the ground shook, the [many] [act], and out of the [wild] came
    [coat.a] [foe=foe]. <threat>

threat
  3 "[Hello], {hero.call}," [said] the {foe}. "I shall eat you with [food] and [food]!"
  3 "Who [act.s] at my door?" [said] the {foe}. "Give me your [garment], or I will bite!"
  2 "Nobody may pass but [trade.a] with [number] [animal]s!" [said] the {foe} [adverb].
  2 The {foe} [act] so loudly that {hero} felt [one=feeling] and [feeling!one] together.

gift_power
  4 Then {hero} remembered the {look} {thing}. {hero.He} held it high, and it [act] like [number]
    [many]. The {foe} [act], turned [colour], and [walk] away [over] the [wild].
  3 {Hero} [adverb] put the {look} {thing} on the ground. "What is that?" [asked] the {foe}. "A gift
    from my {kin}," [said] {hero}. The {foe}, who had never been given anything, wept for [feeling]
    and let {hero.him} pass.
  3 "[Oh]!" [said] {hero}, and touched the {look} {thing}. At once the {foe} began to [one=act.base],
    then to [act.base!one], and at last shrank until it was as small as [animal.a].

gift_end
  4 {hero.His} {other} ate all the {food} and danced for [feeling]. "What a [mood] {hero.child} you
    are!" {other.he} [said]. The {look} {thing} still hangs [near] the [tree] in {land}. <moral>
  3 How happy {hero.his} {other} was! There was {food} with [food] and [food] until the [many] [act].
    [Dawn], {hero} went home and gave the {look} {thing} back to {hero.his} {kin}. <moral>
  3 "Is that {food}?" [asked] {hero.his} {other} [adverb]. They ate it [near] the [tree], and the
    {look} {thing} lay between them and [act]. <moral>

loss
  4 One [weekday] [coat.a] messenger came to the door. "[Ruler=trade] of [land=land] has lost {look.a}
    {thing}," he [said]. "Whoever finds it shall have [reward=reward]!" {Hero} packed some [food] and
    [walk] after him. "Remember," called {hero.his} [kin], "[lesson=lesson]!"|<lost_road>
  3 In those days [ruler=trade] of [land=land] owned {look.a} {thing}; but [animal.a] stole it in
    [month], and all the [many] stopped [act.ing]. "I will find it," [said] {hero}, "even without
    [reward=reward]." And {hero.his} [kin] [said]: "Go, for [lesson=lesson]."|<lost_road>
  3 Now {hero} had a dream: [coat.a] [animal] stood [near] the [tree] and spoke. "[Ruler=trade] of
    [land=land] weeps for {look.a} {thing}. Find it, and you will be given [reward=reward]. Do not be
    afraid: [lesson=lesson]."|<lost_road>

lost_road
  6 <episode>|<lost_road>
  4 <lost_find>|<lost_end>

lost_find
  4 At the end of the road stood [home=home.a]; in the {home} stood [keep=keep.a]; and in the {keep},
    under [number] [garment]s, lay the {look} {thing}. It [act] [adverb]. "[Oh]!" [said] {hero}.
  3 What was that [near] the [tree]? Something [act] among the [flower]. It was the {look} {thing},
    and on it sat [coat.a] [beast=animal]. "Take it," [said] the {beast}. "It is too [mood] for me."
  3 That evening {hero} sat down and wept with [feeling], and one tear fell into [keep.a]. There was a
    sound as if [number] [many] [act]: at the bottom lay the {look} {thing}!

lost_end
  4 {Ruler} of {land} [act] for [feeling] and gave {hero} {reward}, as had been promised. <moral>
  3 "You have found my {look} {thing}!" [said] {ruler} of {land}. "Will you have {reward}, or rather
    [food] and [food] for life?" {Hero} [adverb] chose {reward}. <moral>
  2 When {hero} brought the {look} {thing} to {land}, {ruler} gave {hero.him} {reward}; but the [animal]
    that had stolen it was given [colour.a] [garment] and forgiven. <moral>

friends
  5 Once upon a time, <place>, there lived two friends, {hero} and {friend}. {Hero} was [one=mood] and
    loved [two=hobby]; {friend} was [mood!one] and loved [hobby!two].
  3 {Hero} and {friend} were born on the same [weekday], one in [home.a], the other in [home.a]. They
    shared everything: their [food], their [garment]s and their [animal].
  3 Long ago, in [land], nobody ever saw {hero} without {friend}. In [one=month] they [walk] [over] the
    [wild], and in [month!one] they sat by the fire and ate [food].

quarrel
  4 One [weekday] they found [look=look.a] [thing=thing] [near] the [tree]. "It is mine!" [said] {hero}.
    "No, mine!" [said] {friend}, and [walk] away [over] the [wild]. {Hero} kept the {look} {thing}, but
    felt no [feeling] at all.|<sorry_road>
  3 But one day [trade.a] gave them [look=look.a] [thing=thing]. "You always lose everything," [said]
    {friend} [adverb]. "And you are as silly as [animal.a]!" [said] {hero}. They parted [near] the
    [tree], {hero} with the {look} {thing} and {friend} with nothing but [food].|<sorry_road>

sorry_road
  5 <episode>|<sorry_road>
  4 <rescue>|<friends_end>

rescue
  4 Suddenly {hero} heard someone call from the [lie] [wild]. It was {friend}, locked in [keep.a] by
    [foe=foe.a]! {Hero} threw the {look} {thing} at the {foe}, who [act], took it, and [walk] away. "So
    [lesson=lesson]," [said] {friend} [adverb].
  3 There, on the ground, lay {friend}'s [garment=garment], torn and [colour] with mud. "I am the most
    [mood] {hero.child} in the world," [said] {hero}. "Not quite," [said] a voice from the [tree]. It was
    {friend}. "My [kin] always says that [lesson=lesson]."
  3 When {hero} could walk no more, someone put a hand on {hero.his} [garment]. "I have looked for you
    for [number] days," [said] {friend}. "I have brought you [food]. You know that [lesson=lesson]."

friends_end
  4 {Hero} and {friend} laughed until the [many] [act]. They never saw the {look} {thing} again, and they
    never missed it. <moral>
  3 They gave the {look} {thing} to [coat.a] [animal], and {hero} and {friend} went home
    together, [hobby] all the way. <moral>
  3 Since that day {hero} has the {look} {thing} on every [one=weekday], {friend} has it on every
    [weekday!one], and nobody quarrels. <moral>

finder
  5 Once upon a time [hero=name], [mood.a] {hero.child} who lived <place>, found {look.a} {thing} in
    [keep.a]. <custom>|<genie>
  4 There was once a {hero_intro}
  3 Nobody remembers who made the {look} {thing}. It lay in [keep.a] <place> until [hero=name], the
    [mood] {hero.son} of [trade.a], sat down on it. <custom>|<genie>
