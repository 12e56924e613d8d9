"""Pictures as people have them: three classes in a folder, with all that does not belong there or is stored oddly."""

import base64
import random

from support import png

# 16x12 pixels, the upper half yellow, the lower red, by Pillow: four inks, and stored as a camera held upright does
# (EXIF orientation 6: to be shown, it is turned by 90 degrees clockwise).
CMYK = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAKBwcIBwYKCAgICwoKCw4YEA4NDQ4dFRYRGCMfJSQiHyIhJis3LyYpNCkhIjBBMTQ5Oz4+PiUuRElD"
    "PEg3PT47/8AAFAgADAAQBEMRAE0RAFkRAEsRAP/EABgAAQADAQAAAAAAAAAAAAAAAAAEBgcF/8QAIhAAAQIDCQAAAAAAAAAAAAAAAAEDBAYT"
    "FBdSU1WhoqTS/9oADgRDAE0AWQBLAAA/ANSt8Nm8VLZeNKeq9d3yUWu1i2U2YW+GzeKi8aU9V67vkV2sWyg45hpDAAB//9k=")
TURNED = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0N"
    "Dh0VFhEYIx8lJCIfIiEmKzcvJik0KSEiMEExNDk7Pj4+JS5ESUM8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7"
    "Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/wAARCAAMABADASIAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAAAAYH/8QAGhAA"
    "AQUBAAAAAAAAAAAAAAAAAAIFFlSj0f/EABQBAQAAAAAAAAAAAAAAAAAAAAb/xAAaEQAABwAAAAAAAAAAAAAAAAAAAQMVUaHR/9oADAMBAAIR"
    "AxEAPwCslzFeyXwS5ivZL4ZmAu2oydYFzYjJ1g//2Q==")

COLOURS = {"birne grün": (60, 200, 60), "zwetschge": (70, 40, 190), "äpfel": (210, 50, 40)}
SIDE = 16


def picture(name, noise, channels=3, bits=8):
    """One of the class: its colour with noise. Of 1 channel it is grey, of 4 it has alpha."""
    colour = COLOURS[name] if channels >= 3 else [sum(COLOURS[name]) // 3]
    planes = [noise.randbytes(SIDE * SIDE).translate(bytes(min(255, max(0, c + b % 81 - 40)) for b in range(256)))
              for c in colour]
    if channels == 4:
        planes.append(bytes([200]) * (SIDE * SIDE))
    samples = bytes(byte for pixel in zip(*planes) for byte in pixel for _ in range(bits // 8))
    return png(SIDE, SIDE, channels, samples, bits)


def write_pictures(folder, train=150, test=50):
    """FOLDER/train and FOLDER/test with that many pictures of each class; among those of training one of each odd kind,
    beside them a text file and a class without any."""
    noise = random.Random(0)
    odd = {"äpfel/vier farben.jpg": CMYK, "äpfel/hochkant.JPG": TURNED,
           "zwetschge/sechzehn.png": picture("zwetschge", noise, bits=16),
           "zwetschge/grau.png": picture("zwetschge", noise, channels=1),
           "birne grün/durchsichtig.png": picture("birne grün", noise, channels=4)}
    for part, count in (("train", train), ("test", test)):
        for name in COLOURS:
            (folder / part / name).mkdir(parents=True)
            others = sum(path.startswith(f"{name}/") for path in odd) if part == "train" else 0
            for i in range(count - others):
                (folder / part / name / f"bild {i:03}.png").write_bytes(picture(name, noise))
    for path, content in odd.items():
        (folder / "train" / path).write_bytes(content)
    (folder / "train" / "birne grün" / "notizen.txt").write_text("gepflückt im Oktober")
    (folder / "train" / "leer").mkdir()
