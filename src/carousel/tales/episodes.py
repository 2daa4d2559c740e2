"""The episodes and the phrases of the tales, in the language of `grammar`.

Everything here speaks of `{hero}`, who is "Tom" in one tale and "the miller" in a tale told within.
"""

EPISODES = """
episode
  8 <walk> <sight>
  5 <meeting>
  7 <told>
  3 <night>
  3 <song>
  3 <count>
  3 <quiz>
  3 <crossing>
  3 <shop>
  1 <marvel>

walk
  5 [Dawn], {hero} [walk] [over] the [lie] [wild]<how>
  4 {Hero} [adverb] [walk] [over] the [lie] [wild]<how>
  3 The [lie] (road/path/track) (went/led/wound) [over] the [one=wild] and [over] the
    [wild!one]<how>
  2 For [number] [lie] days {hero} [walk] [over] the [wild] of [land]<how>

sight
  4 <View>, and <view>.
  4 [Near] the [tree] (grew/bloomed/stood) [colour] [one=flower] and [colour] [flower!one].
  4 It smelled of [one=food] and [food!one], and (somewhere/far away/now and then) [animal.a]
    [act]<how>
  3 "(What/Such/Oh, for) [lie.a] [wild]!" <hero_says>
  3 {hero.He} (thought of/longed for/talked about) <meal>, and felt [one=mood] and [mood!one].
  2 There was no sound but the [gleam.ing] of the [sort] [many] and the [act.ing] of [coat.a]
    [animal].
  2 [Adverb] [gleam] the (lights/windows/towers) of [land], <spot>.
  2 A signpost said: [number] miles to [land], (beware of/do not feed/mind) the [coat] [animal].

meeting
  5 <Spot> sat [coat=coat.a] [beast=animal], <chore>. <greeting>
  4 [Dawn], {hero} met [coat=coat.a] [beast=animal] in <dress>. <greeting>
  3 "[Oh]!" [said] a voice from [keep.a]. It was [coat=coat.a] [beast=animal], who had been
    [act.ing] there since [weekday]. <greeting>

greeting
  5 "[Hello], {hero.call}," <beast_said>. "(Have you/Could you spare/Do I smell) [some] [meal=food]
    for [mood.a] [trade.call]?" <share>
  3 "Why are you [act.ing] so [adverb]?" <hero_asks> <because>
  3 "Where are you [walk.ing] so [adverb]?" [asked] the {coat} {beast}. <goal>
  2 "(Sell/Lend/Give) me your [cloth] [garment]," <beast_said>, "and I will teach you [hobby]."
    <bargain>

share
  4 {Hero} gave away (half/most/all) of the {meal}, and the {coat} {beast} [act]<how>
  3 "Only [food]," <hero_says> So they (ate/shared/tried) that, and talked about [one=hobby] and
    [hobby!one].
  2 "Take it all," <hero_says> The {beast} (ate/took/buried) the {meal}, [act], and [walk] [over]
    the [lie] [wild]<how>
  2 "Not even for <folk>!" <hero_says> But {hero.he} was [mood] about it all [weekday].

because
  3 "(Because/Since) I lost my [cloth] [garment]," <beast_said>, "and the [sort] [many]
    [gleam.base] at me."
  3 "I (wanted/hoped) to be <folk>," <beast_said>, "but I only know about [hobby]."
  2 "It is what [animal.s] do in [month]," <beast_said>.
  2 "[Elder] has (eaten/stolen/spoiled) my [food]," <beast_said>. {Hero} gave it [some] [food], and
    it [act]<how>

goal
  3 "To [land]," <hero_says> "Then do not (sleep/sit/sing) <spot>," <beast_said>, "for there
    [act.s] [coat.a] [foe]."
  3 "I hardly know," <hero_says> "Nor do I," <beast_said>, and for [number] (hours/days) they
    [walk] [over] the [lie] [wild]<how>
  2 "Wherever the [many] [gleam.base]," <hero_says> "How [mood]!" <beast_said>.

bargain
  3 "(Never/Not today/Ask [elder])!" <hero_says> The {coat} {beast} [one=act] and [act!one].
  2 {Hero} (sold it/agreed), and learned so [adverb] that even <folk> [act]<how>

told
  4 <Spot> sat [teller=elder.a], <chore>. <invitation>|<yarn>|<parting>
  3 [Dawn], {hero} met [teller=elder.a] with <creature> on a (string/leash/tray).
    <invitation>|<yarn>|<parting>
  2 In [lie.a] [home] lived [teller=elder.a] with [number] [coat] [animal.s].
    <invitation>|<yarn>|<parting>

invitation
  3 "(Sit down/Come in/Stay a little), {hero.call}," {teller} [said] [adverb], "and hear a story."
  3 "You look as [mood] as <creature>," <teller_says> "Let me tell you (something/a tale/the
    truth)."
  2 {Hero} offered {teller.him} <meal>, and {teller} (paid/answered) with a story.
  2 "Do you (see/hear/trust) the [sort] [many]?" [asked] {teller}. "They [gleam.base] because of
    what I shall tell you."

yarn
  5 "This is the (tale/story/legend) of [hero=trade] and the [look=look] [thing=thing]," {teller}
    began.|<yarn_start>
  3 "Do you know what became of [hero=trade] of [land] and {hero.his} [look=look] [thing=thing]?"
    <teller_says>|<yarn_start>

yarn_start
  4 {Hero} lived <place> with the {look} {thing}, so [one=mood] that <view>, and so [mood!one] that
    even <folk> [act]<how>|<yarn_road>
  3 One [lie] [weekday] {hero} (found/saw/felt) the {look} {thing} in [keep.a]. "[Oh]!" <hero_says>
    And {hero.he} [walk] to [land] to (sell/trade) it for [some] [food].|<yarn_road>
  3 {hero.His} [kin] had left {hero} the {look} {thing}, [number] [coat] [animal.s] and [some]
    [food]. But [coat.a] [foe] came and ate (everything/it all) except the {thing}.|<yarn_road>

yarn_road
  4 <episode>|<yarn_road>
  6 <yarn_turn>|<yarn_end>

yarn_turn
  3 (But/Then/One day) the {look} {thing} fell into [look.a] [keep]. {Hero} [act], looked <spot>
    and <spot>, and grew [one=mood] and [mood!one], while <view>.
  3 [Soon] [coat.a] [foe=foe] wanted the {look} {thing}. "(First catch me/Over my [garment]),"
    <hero_says> {hero.He} [walk] [over] the [lie] [wild] until the {foe} was as [coat] as
    [animal.a].
  3 In [land] {hero} gave the {look} {thing} to [mood.a] child with no [food]. (Ever since/From
    then on), the [sort] [many] [gleam] wherever {hero.he} went.
  2 When {hero} touched the {look} {thing} with [flower], it (became/turned into) [coat.a]
    [beast=animal]. "[Hello]," [said] the {beast}, and they were married on [lie.a] [weekday].

yarn_end
  4 "And that," {teller} [said], "is the (tale/end) of {hero} and the {look} {thing}."
  3 Here {teller} [act], for the tale of {hero} and the {look} {thing} was over.
  2 "So much for {hero}," <teller_says> "The {look} {thing} is in my [cloth] [garment], if you
    (want proof/doubt me)."

parting
  3 {Hero} (thanked/hugged/believed) {teller} and gave {teller.him} <dress>.
  3 "It is a story for [mood] [animal.s]," <hero_says>
  2 But {hero} had fallen asleep and dreamed of <meal>.
  2 "Is that true?" <hero_asks> "As true as [sort] [many] [gleam.base]," [said] {teller} [adverb].

night
  4 That [lie] night {hero} (slept/lay) <spot> and dreamed of [one=food], [food!one] and [number]
    [mood] [animal.s].
  3 When it was dark, {hero} (crept/climbed/fell) into [keep.a] and (listened to/talked
    with/counted) the [sort] [many]. "How they [gleam.base]!" <hero_says>
  2 The [lie] moon [gleam] [over] the [wild]. {Hero} counted [many] until {hero.he} fell asleep at
    number [number].
  2 There was no bed in [land]. So {hero} (slept/dozed) <spot>, with <creature> for a
    (pillow/blanket).

song
  4 To (keep away/forget/hide) [feeling], {hero} sang:|<verse>
  2 Out of [keep.a] came the song of <creature>:|<verse>
  2 A choir of [coat] [animal.s] stood <spot> and sang:|<verse>

verse
  4 "Sing to the [sort] [many] and sing to the [rhyme=rhyme.one],|[walk.Base] with the [animal],
    {rhyme.two}!"
  3 "[One=food] for the [animal], [food!one] for the [rhyme=rhyme.one],|[adverb] [walk.base],
    {rhyme.two}!"
  3 "Oh, my [colour] [garment], oh, the [lie] [rhyme=rhyme.one]:|the [many] are [gleam.ing],
    {rhyme.two}!"

count
  4 [Dawn], {hero} saw [number=number] [kind=animal.s] in [colour.a] [keep]. They [act]; and when
    {hero} [walk] on, all {number} {kind.s} (waved/lifted/lost) their [cloth] [garment.s].
  3 [Number=number] [kind=animal.s] blocked the (road/bridge/door). {Hero} gave the first [some]
    [food], the last [some] [food], and then all {number} {kind.s} [walk] [over] the [lie]
    [wild]<how>

quiz
  4 [mood.A] [beast=animal] (barred/blocked) the way. "Answer, or [act.base]," it [said].
    "[riddle=riddle.ask]" {Hero} (looked at/asked/counted) the [many] and [said]: "It is
    {riddle.answer}!" The {beast} [act]<how>
  3 "[riddle=riddle.ask]" [asked] [coat.a] [beast=animal] <spot>. "It is {riddle.answer},"
    <hero_says> "[Oh]!" [said] the {beast} [adverb].

crossing
  4 [Soon] there was [lie.a] (river/ditch/stream). The [one=animal] was too [mood] to help, and the
    [animal!one] was <chore>; so {hero} crossed it in [look.a] [keep].
  3 A bridge of [sort] [many] led to [land]. It [gleam] at every step, and {hero} [walk]<how>
  2 In the (middle/heart) of the [lie] [wild] {hero} lost the way. [Elder] (sold/lent/showed) it to
    {hero.him} for [some] [food].

shop
  4 At the [lie] market of [land] {hero} (bought/begged/stole) [some] [food] from <folk>, and
    <dress> from <creature>.
  2 [mood.A] [trade.call] was selling [food] <spot>. "Too (dear/sweet/old)," <hero_says> "It makes
    you [mood]," [said] the [sort] [many].

marvel
  2 Then it rained [food], as it does once in [number] years.
  1 [sort.A] star fell down, [said] "[Oh]!" and [walk] away.

view
  5 the [sort] [many] [gleam]
  3 the [one=many] and the [many!one] [gleam]
  3 [coat.a] [animal] [act] [near] the [tree]
  2 all [land] [act]

how
  4 .
  5  as [adverb] as <creature>.
  3 , [act.ing] [adverb].
  3  like [coat.a] [animal].
  2  while <view>.
  2 , full of [feeling].
  1 , with [some] [food] in [keep.a].

spot
  5 [near] the [tree]
  3 (in the middle/on the edge/in sight/west) of the [lie] [wild]
  2 at the gates of [land]
  2 on the roof of [lie.a] [home]

creature
  5 [coat.a] [animal]
  2 [mood.a] [animal]
  2 [coat.a] and [mood] [animal]

folk
  3 [trade.a]
  3 [mood.a] [trade.call]

dress
  3 [colour.a] [garment]
  3 [cloth.a] [garment]
  2 [colour.a] [cloth] [garment]

chore
  4 [chore]
  4 [mend.ing] [look.a] [thing]
  2 [mend.ing] [some] [food]

meal
  4 [some] [food]
  3 [one=food] and [food!one]
  2 [number] kinds of [food]

beast_said
  4 [said] the {beast}
  2 [said] the {coat} {beast}
  3 the {beast} [said] [adverb]
  2 it [said]

teller_says
  4 {teller} [said].
  4 {teller} [said] [adverb].
  2 [said] {teller}, [act.ing] [adverb].

hero_asks
  4 [asked] {hero}.
  4 [asked] {hero} [adverb].
  2 {hero.he} [asked].

hero_says
  4 [said] {hero}.
  5 [said] {hero} [adverb].
  2 {hero.he} [said].
  2 [said] {hero}, [act.ing] [adverb].
"""
