"""The words of the tales, as tables for `tales_grammar`.

Every table is ordered from common to rare: the word of rank k = 0, 1, … has the weight
`5040 // (k + 5)`, a law of Zipf and Mandelbrot. No word of a table may begin another in any form
that is drawn ("cat" and "catfish" cannot both be there); a test says so.

Source: Mandelbrot 1953, An Informational Theory of the Statistical Structure of Language.
"""

from carousel.text.tales_grammar import Table, Word, make_table

AN = ("hour", "honest")  # begin with a vowel to the ear
A = ("one", "unicorn", "useful")  # begin with a consonant to the ear


def with_article(words: str) -> str:
    """Put "a" or "an" before a word, as it sounds."""
    vowel = words.startswith(tuple("aeiou")) and not words.startswith(A)
    return f"an {words}" if vowel or words.startswith(AN) else f"a {words}"


def _ranked(words: list[Word]) -> Table:
    return make_table([5040 // (rank + 5) for rank in range(len(words))], words)


def _split(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",")]


def _plain(text: str) -> Table:
    """Words with the form `a`: with an article."""
    return _ranked([{"word": word, "a": with_article(word)} for word in _split(text)])


def _columns(forms: str, text: str) -> Table:
    """Words whose forms are written out, with slashes between."""
    return _ranked(
        [dict(zip(forms.split("/"), entry.split("/"), strict=True)) for entry in _split(text)]
    )


HE = {"he": "he", "him": "him", "his": "his", "child": "boy", "son": "son"}
SHE = {"he": "she", "him": "her", "his": "her", "child": "girl", "son": "daughter"}


def _alternate(boys: str, girls: str) -> list[Word]:
    """Names, a boy's and a girl's in turn."""
    return [
        {"word": name, "call": name, **pronouns}
        for pair in zip(_split(boys), _split(girls), strict=True)
        for name, pronouns in zip(pair, (HE, SHE), strict=True)
    ]


def _people(text: str) -> list[Word]:
    """Callings: "the miller", addressed as "miller"; those marked with a + are women."""
    return [
        {"word": f"the {who}", "call": who, "a": with_article(who), **(SHE if mark else HE)}
        for who, mark in ((entry.rstrip("+"), entry.endswith("+")) for entry in _split(text))
    ]


def _kin(text: str) -> list[Word]:
    return [{"word": kin.rstrip("+"), **(SHE if kin.endswith("+") else HE)} for kin in _split(text)]


TABLES: dict[str, Table] = {
    # Who
    "name": _ranked(
        _alternate(
            "Tom, Peter, Jonas, Emil, Oskar, Felix, Hugo, Simon, Nils, Otto, Robin, Bruno, Victor,"
            "Caspar, Willem, Edgar, Theo, Ludo, Zeno, Bastian, Quentin, Yorick",
            "Anna, Marta, Lena, Greta, Ida, Clara, Elsa, Frida, Hanna, Nora, Rosa, Tilda, Sofia,"
            "Mina, Vera, Ursula, Judith, Wanda, Kirsten, Dorothy, Xenia, Philippa",
        )
    ),
    "trade": _ranked(
        _people(
            "miller, baker+, shepherd, weaver+, king, princess+, tailor, gardener+, fisherman,"
            "queen+, cobbler, potter+, blacksmith, goose girl+, woodcutter, widow+, knight, cook+,"
            "sailor, dairymaid+, carpenter, painter+, tinker, beekeeper+, clockmaker, innkeeper+,"
            "farmer, mapmaker+, piper, candlemaker+, merchant, poet+, soldier, astronomer+,"
            "juggler, glassblower+, ropemaker, judge+, duke, rat catcher+"
        )
    ),
    "elder": _ranked(
        _people(
            "ferryman, storyteller+, hermit, nurse+, lamplighter, washerwoman+, pedlar,"
            "herb woman+, gatekeeper, fortune teller+, fiddler, wanderer+, watchman, abbess+,"
            "bard, lighthouse keeper+, pilgrim, puppeteer+, monk, librarian+, charcoal burner,"
            "schoolmistress+, wizard, midwife+"
        )
    ),
    "kin": _ranked(
        _kin(
            "mother+, father, grandmother+, grandfather, aunt+, uncle, sister+, brother,"
            "godmother+, godfather"
        )
    ),
    "foe": _plain(
        "giant, wolf, dragon, troll, ogre, goblin, griffin, robber, sea serpent,"
        "basilisk, werewolf, sorcerer, bandit, tyrant"
    ),
    "animal": _plain(
        "fox, hare, crow, owl, mouse, hedgehog, frog, cat, goose, badger, squirrel, goat, otter,"
        "dog, mole, hen, donkey, bear, toad, robin, raven, duck, snail, stag, beaver, magpie,"
        "stork, pony, weasel, cricket, heron, swan, beetle, sparrow, turtle, bumblebee, newt, lamb,"
        "salmon, lizard, jackdaw, polecat, umbrella bird, iguana"
    ),
    # What they are like
    "mood": _plain(
        "brave, kind, clever, merry, curious, gentle, lonely, patient, honest, cheerful, poor,"
        "shy, stubborn, quiet, hopeful, generous, lazy, proud, thoughtful, careless, restless,"
        "sleepy, clumsy, dreamy, friendly, grumpy, hungry, humble, jolly, lively, modest, nimble,"
        "polite, sensible, tidy, timid, wise, foolish, earnest, obedient, untidy, adventurous"
    ),
    "coat": _plain(
        "grey, old, sly, plump, spotted, shaggy, young, lame, wet, brown, thin, scruffy, white,"
        "shivering, black, ginger, limping, whiskery, one-eyed, drowsy, ragged, nervous,"
        "dignified, sneezing, fluffy, elegant, absent-minded, bow-legged"
    ),
    "feeling": _plain(
        "joy, hope, wonder, sorrow, fear, pride, courage, delight, longing, shame, relief, anger,"
        "surprise, gratitude, envy, mischief, doubt, tenderness, impatience, kindness"
    ),
    # What they do
    "walk": _columns(
        "base/word/ing",
        "walk/walked/walking, run/ran/running, wander/wandered/wandering,"
        "hurry/hurried/hurrying, march/marched/marching, skip/skipped/skipping,"
        "creep/crept/creeping, tiptoe/tiptoed/tiptoeing, stroll/strolled/strolling,"
        "trudge/trudged/trudging, dance/danced/dancing, ride/rode/riding,"
        "stumble/stumbled/stumbling, limp/limped/limping, trot/trotted/trotting,"
        "roam/roamed/roaming, race/raced/racing, journey/journeyed/journeying,"
        "plod/plodded/plodding, scamper/scampered/scampering, gallop/galloped/galloping,"
        "saunter/sauntered/sauntering, flee/fled/fleeing, hobble/hobbled/hobbling",
    ),
    "act": _columns(
        "base/s/word/ing",
        "sing/sings/sang/singing, dance/dances/danced/dancing,"
        "whisper/whispers/whispered/whispering, shine/shines/shone/shining,"
        "tremble/trembles/trembled/trembling, hum/hums/hummed/humming, wait/waits/waited/waiting,"
        "sleep/sleeps/slept/sleeping, listen/listens/listened/listening,"
        "sigh/sighs/sighed/sighing, glitter/glitters/glittered/glittering,"
        "murmur/murmurs/murmured/murmuring, laugh/laughs/laughed/laughing,"
        "rustle/rustles/rustled/rustling, watch/watches/watched/watching,"
        "nod/nods/nodded/nodding, shiver/shivers/shivered/shivering, drift/drifts/drifted/drifting,"
        "gleam/gleams/gleamed/gleaming, sway/sways/swayed/swaying, rest/rests/rested/resting,"
        "chatter/chatters/chattered/chattering, weep/weeps/wept/weeping,"
        "twinkle/twinkles/twinkled/twinkling, flutter/flutters/fluttered/fluttering,"
        "yawn/yawns/yawned/yawning, bow/bows/bowed/bowing, echo/echoes/echoed/echoing",
    ),
    "said": _plain(
        "said, whispered, cried, answered, laughed, murmured, called, sighed, replied, muttered,"
        "grumbled, chuckled, shouted, declared, exclaimed, mumbled, sobbed, croaked, promised,"
        "repeated, boasted, yawned"
    ),
    "asked": _plain("asked, wondered, inquired, begged, demanded, pleaded"),
    "hobby": _plain(
        "singing, fishing, baking, climbing, dancing, whittling, reading, sewing, painting,"
        "sailing, whistling, weaving, swimming, skating, dreaming, gardening, carving, knitting,"
        "juggling, rowing, cooking, counting, arguing, exploring"
    ),
    "chore": _plain(
        "mending a net, peeling potatoes, counting pennies, feeding the geese, sharpening a knife,"
        "darning a sock, reading a letter, stirring a pot, patching a tent, plaiting straw,"
        "sweeping the path, eating a pear, shelling peas, humming a hymn, drying herbs,"
        "painting a gate, tuning a harp, carving a spoon, oiling a hinge, untying a knot"
    ),
    "adverb": _plain(
        "slowly, softly, gladly, quickly, quietly, sadly, bravely, proudly, gently, merrily,"
        "happily, wearily, boldly, carefully, cheerfully, politely, calmly, eagerly, solemnly,"
        "shyly, patiently, anxiously, kindly, sternly, warmly, nervously, thoughtfully, crossly,"
        "dreamily, foolishly, hopefully, impatiently, loudly, modestly, obligingly, regretfully,"
        "tenderly, unhappily, valiantly, yearningly"
    ),
    "lesson": _plain(
        "a shared loaf is never too small, the longest road begins at your own door,"
        "what you give away comes home, a small light is enough for a dark night,"
        "nobody is too little to help, listen twice before you speak once,"
        "a promise weighs more than gold, kind hands are never empty,"
        "whoever asks the way will find it, friends are worth more than silver,"
        "those who laugh together stay together, the truth needs no candle,"
        "even a king must tie his own shoes, patience opens the rustiest lock,"
        "every river was once a drop of rain, be good to the smallest bird,"
        "courage is fear that went for a walk, never mock a slow donkey,"
        "one honest word mends many cracks, in the end the gentle win"
    ),
    # Things
    "look": _plain(
        "silver, golden, wooden, copper, crystal, little, painted, crooked, glass, iron, ivory,"
        "amber, enchanted, rusty, shining, humming, speckled, striped, forgotten, ancient, velvet,"
        "emerald, whispering, cracked, round, dusty, scarlet, brass, moonlit, talking, borrowed,"
        "invisible, upside-down, porcelain"
    ),
    "thing": _plain(
        "key, ring, bell, lantern, mirror, whistle, box, flute, spoon, thimble, feather, kettle,"
        "button, drum, compass, candle, basket, crown, book, needle, fiddle, acorn, cup, shell,"
        "mitten, clock, kite, egg, comb, hat, boot, map, bottle, spindle, coin, pebble, locket,"
        "umbrella, horn, ribbon, teapot, gate, violin, jar"
    ),
    "garment": _plain(
        "coat, cap, scarf, cloak, shawl, hood, apron, waistcoat, dress, jacket, pair of boots,"
        "nightshirt, collar, bonnet, belt, mantle, turban, veil"
    ),
    "colour": _plain(
        "red, blue, green, yellow, white, brown, black, grey, purple, orange, pink, crimson,"
        "turquoise, lilac, indigo, cream-coloured"
    ),
    "food": _plain(
        "bread, cheese, honey, apples, soup, cake, porridge, nuts, milk, pears, berries, butter,"
        "pancakes, plums, gingerbread, eggs, dumplings, cherries, turnips, mushrooms, jam, stew,"
        "raisins, carrots, onions, figs, biscuits, chestnuts, toffee, cabbage, oatcakes, waffles,"
        "marzipan, pickles, radishes, lentils, almonds, sausages, noodles, ice cream"
    ),
    "keep": _plain(
        "chest, drawer, cupboard, well, hollow log, barrel, haystack, wardrobe, chimney, trunk,"
        "flowerpot, cradle, oven, sack, birdcage, wheelbarrow, attic, inkpot"
    ),
    "reward": _plain(
        "a sack of gold, half the kingdom, a white horse, a new pair of shoes, a kiss on each"
        " cheek, a field of barley, the best seat by the fire, a ship with red sails, a barrel of"
        " honey, a feast that lasted a week, ten fat hens, a cow with golden horns, an orchard of"
        " plums, the freedom of the city, a medal and a sponge cake, all the books in the tower"
    ),
    # Places and times
    "home": _plain(
        "cottage, mill, hut, farmhouse, tower, cabin, castle, inn, bakery, lighthouse, barn,"
        "palace, caravan, boathouse, smithy, workshop, manor, tavern, stable, greenhouse, igloo"
    ),
    "near": _plain("near, beside, behind, beyond, under, below, above"),
    "over": _plain("over, through, across, past, around, into, towards, along"),
    "wild": _plain(
        "wood, meadow, valley, river, moor, hills, marsh, orchard, forest, garden, field, heath,"
        "glen, thicket, hollow, lake, vineyard, clearing, desert, grove, swamp, mountains, pasture,"
        "ravine, brook, dale, jungle, cliffs, prairie, bog, copse, cornfield, island, lagoon"
    ),
    "lie": _plain(
        "dark, misty, quiet, wide, sunny, windy, snowy, silent, frozen, muddy, lonely, green,"
        "mossy, tangled, stony, gloomy, shadowy, foggy, bright, endless, hidden, flowery, chilly,"
        "haunted, thorny, rainy, sleepy, purple, narrow, unknown, echoing, nameless"
    ),
    "land": _plain(
        "Evermoor, Tarnwick, Brindlemere, Oldenvale, Hollowhay, Wintersea, Applecross, Ravensholt,"
        "Marrowby, Silverfen, Kettleburn, Nettlecombe, Dunmarrow, Umberfield, Larkspring,"
        "Foxglove Bay, Goosander, Quillhaven, Yarrowdale, Zephyrton"
    ),
    "tree": _plain(
        "oak tree, willow, old wall, apple tree, birch, stone bridge, pine tree, elm, hedge,"
        "garden gate, chestnut, mill wheel, rowan, milestone, hazel bush, linden, signpost,"
        "rose bush, fountain, stile, ash tree, well, holly, scarecrow, juniper, windmill, arch"
    ),
    "many": _plain(
        "stars, birds, leaves, crickets, bells, frogs, clouds, reeds, bees, swallows, shadows,"
        "fireflies, waves, roses, owls, lanterns, willows, geese, moths, larks, poplars, nettles,"
        "snowflakes, dragonflies, thistles, doves, kittens, echoes, umbrellas, icicles"
    ),
    "flower": _plain(
        "daisies, poppies, bluebells, clover, buttercups, violets, lilies, thyme, foxgloves,"
        "snowdrops, heather, primroses, tulips, marigolds, cowslips, nettles, ferns, irises,"
        "lavender, honeysuckle, anemones, sunflowers"
    ),
    "dawn": _plain(
        "the next morning, at dawn, by noon, towards evening, before long, on the third day,"
        "after breakfast, late in the afternoon, when the rain had stopped, at midnight,"
        "a little later, as soon as the moon rose, just then, one windy day, in the grey of"
        " morning, not far from there, while the dew was still wet, within the hour"
    ),
    "month": _plain(
        "May, April, June, March, October, September, July, November, August, December,"
        "February, January"
    ),
    "weekday": _plain("Sunday, Monday, Saturday, Friday, Tuesday, Thursday, Wednesday"),
    "number": _plain("three, seven, two, five, nine, four, twelve, six, eleven, eight, forty"),
    # Speech
    "hello": _plain(
        "good day, good morning, good evening, welcome, well met, greetings, hello, peace be with"
        " you, bless my whiskers, there you are, stand still, not so fast"
    ),
    "oh": _plain(
        "oh dear, alas, goodness, hurrah, dear me, thank heaven, fiddlesticks, bravo, mercy,"
        "my stars, upon my word, well now, enough, never, yes"
    ),
    "rhyme": _columns(
        "one/two",
        "day/all the way, night/by candlelight, sea/come home to me, moon/be with you soon,"
        "star/however far, hill/I love you still, rain/come back again, snow/and off we go,"
        "tree/for I am free, bell/and all is well, stone/but not alone, fire/higher and higher,"
        "rose/as nobody knows, mouse/is in the house, king/learn to sing, bread/and go to bed,"
        "sky/and so do I, shore/for evermore",
    ),
    "riddle": _columns(
        "ask/answer",
        "Who drums on every roof and has no hands?/the rain,"
        "What grows all evening and is gone by night?/a shadow,"
        "What has a bed and never sleeps in it?/a river,"
        "Who eats the wood and dies of a drink?/a fire,"
        "What wears a hundred coats and makes the cook cry?/an onion,"
        "What follows the ship and leaves no footprint?/the wake,"
        "Who tells you the truth and cannot speak?/a mirror,"
        "What can you break without touching it?/a promise,"
        "What is full of holes and still holds water?/a sponge,"
        "Who knocks at the door and never comes in?/the wind,"
        "What has a face and two hands and no legs?/a clock,"
        "What gets wetter the more it dries?/a towel,"
        "What goes up the hill and down and never moves?/the road,"
        "Who was here before you and will be late tomorrow?/yesterday",
    ),
}
