"""The words of the tales: things, places, times, and what is said; `words` has the rest."""

from carousel.tales.grammar import Table
from carousel.tales.words import columns, compounds, nouns, plain

THINGS: dict[str, Table] = {
    # Things
    "look": plain(
        "silver, golden, wooden, copper, crystal, little, painted, crooked, glass, iron, ivory,"
        "amber, enchanted, rusty, shining, humming, speckled, striped, forgotten, ancient, velvet,"
        "emerald, whispering, cracked, round, dusty, scarlet, brass, moonlit, talking, borrowed,"
        "invisible, upside-down, porcelain, marble, broken, tarnished, paper, giant, perfumed,"
        "weightless, bottomless, jade, leaden, magic, nameless, oaken, pearl, quivering, royal,"
        "singing, tin, unbreakable, wicked, yawning, zigzag"
    ),
    "thing": nouns(
        "key, ring, bell, lantern, mirror, whistle, box, flute, spoon, thimble, feather, kettle,"
        "button, drum, compass, candle, basket, crown, book, needle, fiddle, acorn, cup, shell,"
        "mitten, clock, kite, egg, comb, hat, boot, map, bottle, spindle, coin, pebble, locket,"
        "umbrella, horn, ribbon, teapot, gate, violin, jar, ladder, lamp, anchor, apple, axe,"
        "bowl, broom, chair, dagger, fan, goblet, hammer, inkwell, jug, knot, lute, medal, nail,"
        "oar, pillow, quill, rope, sceptre, telescope, urn, vase, wheel, yardstick"
    ),
    "garment": nouns(
        "coat, cap, scarf, cloak, shawl, hood, apron, waistcoat, dress, jacket, nightshirt, sock,"
        "collar, bonnet, belt, mantle, turban, veil, glove, petticoat, helmet, shirt, skirt, robe,"
        "wig, slipper, necktie, ruff, sash, uniform, blouse, kilt, garter, poncho, jerkin, beret"
    ),
    "cloth": plain(
        "woollen, silk, cotton, leather, linen, knitted, patched, lace, chequered, tattered,"
        "spotless, embroidered, frilly, quilted, fur-lined, second-hand, ill-fitting, waterproof,"
        "mended, starched, tasselled, oversized, inherited, feathered"
    ),
    "colour": plain(
        "red, blue, green, yellow, white, brown, black, grey, purple, orange, pink, crimson,"
        "lilac, turquoise, indigo, cream, violet, beige, mauve, olive, rosy, sky-blue, dove-grey,"
        "vermilion"
    ),
    "food": plain(
        "bread, cheese, honey, apples, soup, cake, porridge, nuts, milk, pears, berries, butter,"
        "pancakes, plums, gingerbread, eggs, dumplings, cherries, turnips, mushrooms, jam, stew,"
        "raisins, carrots, onions, figs, biscuits, chestnuts, toffee, cabbage, oatcakes, waffles,"
        "marzipan, pickles, radishes, lentils, almonds, sausages, noodles, ice cream, beans,"
        "dates, trifle, custard, ham, liquorice, muffins, nougat, olives, omelettes, parsnips,"
        "peas, quince, rhubarb, rice, salad, spinach, strawberries, tarts, tea, treacle, vinegar,"
        "walnuts, yams, acorns, barley, cider, fudge, garlic, herring, jelly, kippers"
    ),
    "some": plain(
        "some, a basket of, a bowl of, a spoonful of, a sack of, plenty of, a handful of,"
        "a plate of, a barrel of, a mouthful of, a pound of, no end of, a jar of, a heap of,"
        "a dish of, a pinch of, a bucket of, a mountain of, a pocketful of, a parcel of, too much,"
        "a crumb of, a cartload of, a thimbleful of, far too many kinds of, a lick of, next to no,"
        "a tray of, a week's ration of"
    ),
    "keep": nouns(
        "chest, drawer, cupboard, hollow log, barrel, haystack, wardrobe, chimney, trunk,"
        "flowerpot, cradle, oven, sack, birdcage, wheelbarrow, attic, inkpot, cellar, bathtub,"
        "beehive, bucket, cannon, coffin, dovecote, hammock, kennel, laundry basket, letter box,"
        "nest, piano, pumpkin, saucepan, snowdrift, sugar bowl, top hat, trough, vault,"
        "watering can, suitcase, music box"
    ),
    # Places and times
    "home": plain(
        "cottage, mill, hut, farmhouse, tower, cabin, castle, inn, bakery, lighthouse, barn,"
        "palace, caravan, boathouse, smithy, workshop, manor, tavern, stable, greenhouse, igloo,"
        "shed, chapel, tent, treehouse, cave, dairy, fortress, hunting lodge, laundry, monastery,"
        "nunnery, observatory, post office, ruin, school, teahouse, windmill, vicarage, yurt"
    ),
    "near": plain(
        "near, beside, behind, under, opposite, close to, not far from, in front of,"
        "to the left of, to the right of, within reach of, in the shade of, at the foot of,"
        "across from, a mile from, just past, in sight of, north of, south of"
    ),
    "over": plain(
        "over, through, across, past, around, into, towards, along, down to, up to, all over,"
        "in and out of, back to, beyond, deep into, twice round, halfway across, out of, clear of,"
        "round"
    ),
    "wild": plain(
        "wood, meadow, valley, river, moor, hillside, marsh, orchard, forest, garden, field,"
        "heath, glen, thicket, hollow, lake, vineyard, clearing, desert, grove, swamp,"
        "mountain pass, pasture, ravine, brook, dale, jungle, coast, prairie, bog, copse,"
        "cornfield, island, lagoon, beach, canyon, churchyard, estuary, fen, glacier, harbour,"
        "labyrinth, maze, nursery, oasis, park, quarry, steppe, tundra, village, waterfall, yard,"
        "crossroads, bay"
    ),
    "lie": plain(
        "dark, misty, quiet, wide, sunny, windy, snowy, silent, frozen, lonely, green, mossy,"
        "tangled, stony, gloomy, shadowy, foggy, bright, endless, hidden, flowery, chilly,"
        "haunted, thorny, rainy, sleepy, purple, narrow, unknown, echoing, nameless, muddy,"
        "airless, barren, crowded, deep, enormous, famous, fragrant, grassy, humming, icy, jagged,"
        "leafy, moonlit, neglected, overgrown, peaceful, restless, salty, smoky, treeless,"
        "uncharted, vast, whispering, withered, yellow, sandy, steep, blossoming"
    ),
    "land": compounds(
        "Ever, Tarn, Brindle, Olden, Hollow, Winter, Apple, Raven, Marrow, Silver, Kettle, Nettle,"
        "Umber, Lark, Fox, Goose, Quill, Yarrow, Candle, Elder, Ink, Pepper, Thistle, Bramble,"
        "Feather, Gloam, Hazel, Moon, Owl, Puddle, Rook, Salt, Amber, Clover, Dragon, Fern,"
        "Juniper, Otter",
        "moor, wick, mere, vale, hay, sea, cross, holt, by, fen, burn, combe, field, spring, ton,"
        "haven, dale, ford, brook, bury, ridge, stow, mouth, hill, end, port, ness, water",
    ),
    "tree": plain(
        "oak tree, willow, old wall, apple tree, birch, stone bridge, pine tree, elm, hedge, arch,"
        "garden gate, chestnut, mill wheel, rowan, milestone, hazel bush, linden, signpost, fence,"
        "rose bush, fountain, stile, ash tree, holly, scarecrow, juniper, windmill, beech, bench,"
        "cedar, drawbridge, elder bush, flagpole, gooseberry bush, haystack, lime tree, maple,"
        "ivy, nut tree, poplar, sundial, walnut tree, yew, bandstand, bell tower"
    ),
    "many": plain(
        "stars, birds, leaves, crickets, bells, frogs, clouds, reeds, bees, swallows, shadows,"
        "owls, fireflies, waves, roses, lanterns, willows, geese, moths, larks, poplars, nettles,"
        "doves, snowflakes, dragonflies, thistles, kittens, echoes, umbrellas, icicles, apples,"
        "bats, pines, candles, chimneys, daisies, embers, feathers, grasses, haystacks, islands,"
        "jackdaws, kites, lilies, mountains, nightingales, oaks, pebbles, quails, raindrops,"
        "sails, tulips, windows"
    ),
    "sort": plain(
        "pale, small, wild, tired, last, first, white, distant, old, secret, autumn, summer,"
        "winter, spring, lost, hundred, golden, lonely, unseen, frightened, happy, morning,"
        "evening, weary, drowsy, tiny, great, merry, homeless, countless, blue, proud, dear,"
        "early, faithful, gentle, highest, innocent, jealous, kindly, late, midnight, nearest,"
        "other, patient, quiet, restless, silvery, thousand, upper, village, young"
    ),
    "flower": plain(
        "daisies, poppies, bluebells, clover, buttercups, violets, lilies, thyme, foxgloves,"
        "ferns, snowdrops, heather, primroses, tulips, marigolds, cowslips, nettles, irises,"
        "lavender, honeysuckle, anemones, sunflowers, camomile, dandelions, edelweiss,"
        "forget-me-nots, gentians, hyacinths, ivy, jasmine, larkspur, mint, narcissi, orchids,"
        "peonies, roses, sage, tansy, wormwood, yarrow"
    ),
    "dawn": plain(
        "the next morning, at dawn, by noon, towards evening, before long, on the third day,"
        "after breakfast, late in the afternoon, when the rain had stopped, at midnight,"
        "a little later, as soon as the moon rose, just then, one windy day,"
        "while the dew was still wet, within the hour, not long after that, in the first snow,"
        "when the clock struck three, between two showers, early on a market day,"
        "during the great heat, for want of a better plan, half asleep, in a thunderstorm,"
        "quite by chance, under a full moon, with aching feet"
    ),
    "soon": plain(
        "then, suddenly, at last, all at once, now, that moment, in the end, without a word,"
        "just in time, to everyone's surprise, after a while, out of the blue, for once, luckily"
    ),
    "month": plain(
        "May, April, June, March, October, September, July, November, August, December, February,"
        "January"
    ),
    "weekday": plain("Sunday, Monday, Saturday, Friday, Tuesday, Thursday, Wednesday"),
    "number": plain(
        "three, seven, two, five, nine, four, twelve, six, eleven, eight, forty, ten, thirteen,"
        "twenty, thirty, fifteen, fifty"
    ),
    # What is said
    "hello": plain(
        "good day, good morning, good evening, welcome, well met, greetings, hello,"
        "peace be with you, bless my whiskers, there you are, stand still, not so fast,"
        "at your service, come closer, do sit down, fine weather, how do you do, look at me,"
        "mind my tail, on your knees, say nothing, thank goodness, wait for me, you again"
    ),
    "oh": plain(
        "oh dear, alas, goodness, hurrah, dear me, thank heaven, fiddlesticks, bravo, mercy,"
        "at last, my stars, upon my word, well now, enough, never, yes, by my beard, confound it,"
        "every time, farewell, gracious, how odd, indeed, just my luck, keep calm, listen,"
        "nonsense, off we go, quite so, rubbish, so there, too late, unheard of, what now, you see"
    ),
    "proverb": plain(
        "needs no candle, never walks alone, finds every door, sleeps on silk, is never too late,"
        "opens the rustiest lock, asks the way twice, outruns a king, laughs last,"
        "has friends enough, is worth ten cowards, knows when to bow, shares the last crumb,"
        "fears no winter, keeps a promise, learns from the rain, forgives before supper,"
        "gives without counting, carries a light for others, tells the truth in the dark,"
        "mends what it breaks, builds a bridge first, beats a hundred swords, owns the moon,"
        "drinks from the deepest well, pays with a song, cannot be bought, sees with the heart,"
        "grows by helping, outlives a crown, is at home anywhere, listens before it leaps,"
        "leaves no one behind, makes good soup, turns an enemy into a guest, warms the whole house"
    ),
    "rhyme": columns(
        "one/two",
        "day/all the way, night/by candlelight, sea/come home to me, moon/I am coming soon,"
        "star/no matter how far, hill/I love you still, rain/come back again, snow/and off we go,"
        "tree/for I am free, bell/and all is well, stone/but not alone,"
        "fire/always higher and higher, rose/as nobody knows, mouse/come into my house,"
        "king/learn to sing, bread/so go to bed, sky/and so do I, shore/for evermore,"
        "cat/in a velvet hat, goose/now we are loose, lake/for old times' sake,"
        "wind/with our hair unpinned, clock/with a tick and a tock, boat/and stay afloat,"
        "cook/by hook or crook, frost/but nothing is lost, owl/in a bathing towel,"
        "deer/and have no fear",
    ),
    "riddle": columns(
        "ask/answer",
        "Who drums on every roof and has no hands?/the rain,"
        "What grows all evening and is gone by night?/a shadow,"
        "What lies in its bed and runs all day?/a river,"
        "Who eats the whole wood and dies of a drink?/a fire,"
        "What wears a hundred coats and makes the cook cry?/an onion,"
        "What follows the ship and leaves no footprint?/the wake,"
        "Who tells you the truth and never speaks?/a mirror,"
        "What is given by one and kept by two?/a promise,"
        "Who knocks at the door and never comes in?/the wind,"
        "What climbs the hill and never leaves the valley?/the road,"
        "Who was here before you and will be late tomorrow?/yesterday,"
        "What is lighter than a feather and stops a dragon?/a dream,"
        "What falls on the king and does not ask his pardon?/the snow,"
        "What has a hundred teeth and combs the meadow?/a rake,"
        "What sleeps in the wall and screams in the lock?/a key,"
        "What is thrown away in spring and missed in winter?/a mitten,"
        "Who walks round the house and leaves one white shoe?/the moon,"
        "What can you keep only by giving it?/your word",
    ),
}
